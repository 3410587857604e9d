"""Audio encoders, by name."""

from functools import partial

from merc.encoders import raw, sources
from merc.encoders.card import Card, Reader, none
from merc.encoders.encoder import Encoder
from merc.encoders.prosody import Prosody
from merc.encoders.speech import Layer, speech
from merc.params import Strict


class AudioEncoding(Strict):
    """Section encode.audio."""

    encoder: str
    by_corpus: dict[str, str]
    frame_rate: float
    layer: Layer


def reader(config: AudioEncoding) -> Reader:
    """Reads the sounds."""
    return raw.sounds


def pretrained(name: str, config: AudioEncoding, source: str) -> Encoder:
    """Any Hugging Face speech model; `source` is a folder's name under data/weights, or a hub id@revision."""
    return speech(name, sources.folder(source), config.frame_rate, config.layer)


def _prosody(name: str, config: AudioEncoding) -> Encoder:
    return Prosody(name, config.frame_rate)


def _hub(source: str, licence: str, width: int, about: str) -> Card:
    return Card(partial(pretrained, source=source), source, licence, width, about, downloads=True)


ENCODERS: dict[str, Card] = {
    "prosody": Card(
        make=_prosody,
        source="merc/encoders/prosody.py",
        licence="MIT",
        width=109,
        about="the offline default; training-free: log-mel, pitch, voicing, energy",
    ),
    "wav2vec2-base": _hub(
        "facebook/wav2vec2-base@0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
        licence="Apache-2.0",
        width=768,
        about="self-supervised",
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
    ),
    "wavlm-base-plus": _hub(
        "microsoft/wavlm-base-plus@4c66d4806a428f2e922ccfa1a962776e232d487b",
        licence="see its model card",
        width=768,
        about="self-supervised, with noise and other voices mixed in",
    ),
    "none": none(),
}
