"""Vision encoders, by name."""

from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc.encoders import raw, sources
from merc.encoders.card import Card, Reader, hub, none
from merc.encoders.encoder import Encoder
from merc.encoders.hog import Hog
from merc.encoders.raw import Sound
from merc.params import Strict
from merc.tracks import Track


class VisionEncoding(Strict):
    """Section encode.vision."""

    encoder: str
    by_corpus: dict[str, str]
    picture: Literal["face", "frame", "frames"]
    frame_rate: float = Field(gt=0)


class _Speaker:
    """Chooses the face that speaks; the network is loaded by whoever asks first, in its own process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, tracks: list[Track], sound: Sound | None) -> int | None:
        from merc import speaking

        return speaking.choose(tracks, sound, self.scorer)

    @cached_property
    def scorer(self):
        from merc import speaking

        return speaking.load_scorer(self.folder)


def _nobody(tracks: list[Track], sound: Sound | None) -> None:
    return None


def reader(config: VisionEncoding) -> Reader:
    """Reads the face that speaks (the largest where lipsync is off), the representative frame, or many frames."""
    if config.picture == "frames":
        return raw.frames
    choose = {"face": _Speaker(Path("out/lipsync/vision")), "frame": _nobody}[config.picture]
    return partial(raw.faces, choose=choose)


def pretrained(name: str, config: VisionEncoding, source: str) -> Encoder:
    """Any Hugging Face image or video model; `source` is a folder under data/weights, or a hub id@revision."""
    from merc.encoders.backbones import vision

    return vision(name, sources.folder(source), config.frame_rate)


def _hog(name: str, config: VisionEncoding) -> Encoder:
    return Hog(name, config.frame_rate)


def _resnet50(name: str, config: VisionEncoding) -> Encoder:
    from merc.encoders.backbones import resnet50

    return resnet50(name, config.frame_rate)


def _r3d_18(name: str, config: VisionEncoding) -> Encoder:
    from merc.encoders.backbones import r3d_18

    return r3d_18(name, config.frame_rate)


def _lipsync(name: str, config: VisionEncoding, home: Path) -> Encoder:
    from merc.encoders.lips import lips

    return lips(name, home, config.frame_rate)


_hub = partial(hub, pretrained)
ENCODERS: dict[str, Card] = {
    "hog": Card(
        make=_hog,
        source="merc/encoders/hog.py",
        licence="MIT",
        width=320,
        about="the offline default; training-free: oriented gradients and brightness",
    ),
    "resnet50": Card(
        make=_resnet50,
        source="torchvision, resnet50-11ad3fa6.pth",
        licence="BSD-3-Clause",
        width=2048,
        about="ImageNet; a picture per step",
        seeds="misls-esag, avt-memocmt",
        downloads=True,
    ),
    "r3d_18": Card(
        make=_r3d_18,
        source="torchvision, r3d_18-b3b3357e.pth",
        licence="BSD-3-Clause",
        width=512,
        about="Kinetics-400; 16 frames per step: use a frame_rate of about 1",
        seeds="concat-r3d",
        downloads=True,
    ),
    "vit-base-patch16-224": _hub(
        "google/vit-base-patch16-224@3f49326eb077187dfe1c2a2bb15fbd74e6ab91e3",
        licence="Apache-2.0",
        width=768,
        about="ImageNet; a picture per step",
        seeds="avt-memocmt",
    ),
    "timesformer-base-finetuned-k400": _hub(
        "facebook/timesformer-base-finetuned-k400@8aaf40ea7d3d282dcb0a5dea01a198320d15d6c0",
        licence="CC-BY-NC-4.0",
        width=768,
        about="Kinetics-400; 8 frames per step: use a frame_rate of about 1",
    ),
    "lipsync": Card(
        make=_lipsync,
        source="out/lipsync/vision, from the lipsync stage",
        licence="MIT",
        width=64,
        about="how a mouth moves with a voice; learnt here without labels, needs lipsync.epochs above 0",
        seeds="graph-lipsync",
        home=Path("out/lipsync/vision"),
    ),
    "none": none(),
}
