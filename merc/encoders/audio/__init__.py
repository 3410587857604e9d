"""Registry of audio encoders: their names, settings and constructors."""

from functools import partial
from pathlib import Path

from pydantic import Field

from merc.data.records import encoder_inputs
from merc.encoders.audio.egemaps import Egemaps
from merc.encoders.audio.hidden_state_encoder import HiddenLayer
from merc.encoders.audio.lipsync_audio import load_lipsync_audio
from merc.encoders.audio.mel_network import MelNetwork
from merc.encoders.audio.prosody import Prosody
from merc.encoders.audio.spectrum import LogMel
from merc.encoders.audio.speech_model import load_speech_encoder
from merc.encoders.audio.whisper_encoder import load_whisper_encoder
from merc.encoders.audio.whisper_pair import load_whisper_pair
from merc.encoders.base.encoder import Encoder
from merc.encoders.base.registry import NO_ENCODER, EncoderCard, EncodingSection, Reader, catalogued
from merc.encoders.pretrained import loading, sources


class AudioEncoding(EncodingSection):
    """Section encode.audio."""

    frame_rate: float = Field(ge=0.01, le=1000)
    layer: HiddenLayer


def reader(config: AudioEncoding) -> Reader:
    """Reader of the sounds."""
    return encoder_inputs.audio_inputs


def pretrained(name: str, config: AudioEncoding, source: str) -> Encoder:
    """A Hugging Face speech model; `source` is a folder under data/weights, or a hub id@revision."""
    folder = sources.model_folder(source)
    is_whisper = loading.read_config(folder).get("model_type") == "whisper"
    load = load_whisper_encoder if is_whisper else load_speech_encoder
    return load(name, folder, config.frame_rate, config.layer)


_hub = partial(catalogued, lambda name, config: pretrained(name, config, name))
ENCODERS: dict[str, EncoderCard] = {
    "prosody": EncoderCard(
        make=lambda name, config: Prosody(name, config.frame_rate),
        source="merc/encoders/audio/prosody.py",
        licence="MIT",
        width=109,
        description="the offline default; training-free: log-mel, pitch, voicing, energy",
    ),
    "log-mel": EncoderCard(
        make=lambda name, config: LogMel(name, config.frame_rate),
        source="merc/encoders/audio/spectrum.py",
        licence="MIT",
        width=64,
        description=(
            "training-free: the plain spectrogram; 32 ms windows at a frame_rate of 100, means of several below"
        ),
    ),
    "mel-network": EncoderCard(
        make=lambda name, config: MelNetwork(name, config.frame_rate),
        source="merc/encoders/audio/mel_network.py, taught by adapt.audio",
        licence="MIT",
        width=32,
        description="a small residual network over log-mel, nothing pretrained: needs adapt.audio.epochs above 0",
    ),
    "egemaps": EncoderCard(
        make=lambda name, config: Egemaps(name),
        source="openSMILE's eGeMAPSv02 functionals, package opensmile 2.6.0",
        licence="research only (audEERING)",
        width=88,
        description=("needs requirements-research.txt; one step an utterance, float32; frame_rate has no effect"),
    ),
    "wav2vec2-base": _hub(
        "wav2vec2-base",
        width=768,
        description="self-supervised",
    ),
    "wav2vec2-base-960h": _hub(
        "wav2vec2-base-960h",
        width=768,
        description="tuned to write down what is said; earlier layers keep more of how",
    ),
    "wav2vec2-large": _hub(
        "wav2vec2-large",
        width=1024,
        description="self-supervised, three times the parameters of wav2vec2-base",
    ),
    "hubert-base-ls960": _hub(
        "hubert-base-ls960",
        width=768,
        description="self-supervised",
    ),
    "wavlm-base-plus": _hub(
        "wavlm-base-plus",
        width=768,
        description="self-supervised, with noise and other voices mixed in",
    ),
    "whisper-tiny.en": _hub(
        "whisper-tiny.en",
        width=384,
        description="the encoder of a transcriber of English, on a sound's own length; set layer: 2 (of 4)",
    ),
    "whisper-base": _hub(
        "whisper-base",
        width=512,
        description="the same of 99 languages; set layer: 3 (of 6)",
    ),
    "whisper-pair": EncoderCard(
        make=lambda name, config: load_whisper_pair(name, config.frame_rate),
        source="whisper-tiny.en and whisper-base",
        licence="MIT",
        width=5376,
        description=(
            "mean and deviation, over each step, of the three middle layers of both; set frame_rate: 1.0; "
            "layer has no effect"
        ),
    ),
    "lipsync": EncoderCard(
        make=lambda name, config, home: load_lipsync_audio(name, home, config.frame_rate),
        source="out/lipsync/audio, from the lipsync stage",
        licence="MIT",
        width=64,
        description="what a voice tells of the mouth; learnt here without labels, needs lipsync.epochs above 0",
        home=Path("out/lipsync/audio"),
    ),
    "none": NO_ENCODER,
}
