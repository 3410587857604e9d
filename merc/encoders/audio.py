"""Audio encoders, by name."""

from functools import partial
from pathlib import Path

from pydantic import Field

from merc.encoders import raw, sources
from merc.encoders.card import Card, Reader, hub, none
from merc.encoders.encoder import Encoder
from merc.encoders.prosody import Prosody
from merc.encoders.speech import Layer, speech
from merc.params import Strict


class AudioEncoding(Strict):
    """Section encode.audio."""

    encoder: str
    by_corpus: dict[str, str]
    frame_rate: float = Field(gt=0)
    layer: Layer


def reader(config: AudioEncoding) -> Reader:
    """Reads the sounds."""
    return raw.sounds


def pretrained(name: str, config: AudioEncoding, source: str) -> Encoder:
    """Any Hugging Face speech model; `source` is a folder's name under data/weights, or a hub id@revision."""
    return speech(name, sources.folder(source), config.frame_rate, config.layer)


def _prosody(name: str, config: AudioEncoding) -> Encoder:
    return Prosody(name, config.frame_rate)


def _log_mel(name: str, config: AudioEncoding) -> Encoder:
    from merc.encoders.logmel import LogMel

    return LogMel(name, config.frame_rate)


def _mel_network(name: str, config: AudioEncoding) -> Encoder:
    from merc.encoders.melnet import MelNetwork

    return MelNetwork(name, config.frame_rate)


def _egemaps(name: str, config: AudioEncoding) -> Encoder:
    from merc.encoders.egemaps import Egemaps

    return Egemaps(name)


def _lipsync(name: str, config: AudioEncoding, home: Path) -> Encoder:
    from merc.encoders.lips import voice

    return voice(name, home, config.frame_rate)


_hub = partial(hub, pretrained)
ENCODERS: dict[str, Card] = {
    "prosody": Card(
        make=_prosody,
        source="merc/encoders/prosody.py",
        licence="MIT",
        width=109,
        about="the offline default; training-free: log-mel, pitch, voicing, energy",
    ),
    "log-mel": Card(
        make=_log_mel,
        source="merc/encoders/logmel.py",
        licence="MIT",
        width=64,
        about="training-free: the plain spectrogram; 32 ms windows at a frame_rate of 100, means of several below",
        seeds="concat-r3d",
    ),
    "mel-network": Card(
        make=_mel_network,
        source="merc/encoders/melnet.py, taught by adapt.audio",
        licence="MIT",
        width=32,
        about="a small residual network over log-mel, nothing pretrained: needs adapt.audio.epochs above 0",
    ),
    "egemaps": Card(
        make=_egemaps,
        source="openSMILE's eGeMAPSv02 functionals, package opensmile 2.6.0",
        licence="research only (audEERING)",
        width=88,
        about="training-free: one step an utterance, float32; frame_rate has no effect",
    ),
    "wav2vec2-base": _hub(
        "facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        licence="Apache-2.0",
        width=768,
        about="self-supervised",
        seeds="misls-esag",
    ),
    "wav2vec2-base-960h": _hub(
        "facebook/wav2vec2-base-960h@22aad52d435eb6dbaf354bdad9b0da84ce7d6156",
        licence="Apache-2.0",
        width=768,
        about="tuned to write down what is said; earlier layers keep more of how",
    ),
    "hubert-base-ls960": _hub(
        "facebook/hubert-base-ls960@dba3bb02fda4248b6e082697eee756de8fe8aa8a",
        licence="Apache-2.0",
        width=768,
        about="self-supervised",
        seeds="avt-memocmt",
    ),
    "wavlm-base-plus": _hub(
        "microsoft/wavlm-base-plus@4c66d4806a428f2e922ccfa1a962776e232d487b",
        licence="see its model card",
        width=768,
        about="self-supervised, with noise and other voices mixed in",
    ),
    "lipsync": Card(
        make=_lipsync,
        source="out/lipsync/audio, from the lipsync stage",
        licence="MIT",
        width=64,
        about="what a voice tells of the mouth; learnt here without labels, needs lipsync.epochs above 0",
        seeds="graph-lipsync",
        home=Path("out/lipsync/audio"),
    ),
    "none": none(),
}
