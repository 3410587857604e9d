"""Registry of vision encoders: their names, settings and constructors."""

from functools import cached_property, partial
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc.data.records import encoder_inputs
from merc.data.records.encoder_inputs import AudioInput
from merc.data.records.face_tracks import Track
from merc.encoders.base.encoder import Encoder
from merc.encoders.base.registry import NO_ENCODER, EncoderCard, EncodingSection, Reader, catalogued
from merc.encoders.lipsync import synchrony
from merc.encoders.pretrained import sources
from merc.encoders.vision.face_expression import load_face_expression
from merc.encoders.vision.hog import Hog
from merc.encoders.vision.lipsync_mouth import load_lipsync_mouth


class VisionEncoding(EncodingSection):
    """Section encode.vision."""

    picture: Literal["face", "frame", "frames"]
    frame_rate: float = Field(ge=0.01, le=1000)


class _SpeakerChoice:
    """Chooses the speaking face; the lip-sync network is loaded on first use, in each worker process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, tracks: list[Track], sound: AudioInput | None) -> int | None:
        return synchrony.choose_speaker(tracks, sound, self.scorer)

    @cached_property
    def scorer(self):
        """The lip-sync network, or None if the stage is off."""
        return synchrony.load_scorer(self.folder)


def _no_face(tracks: list[Track], sound: AudioInput | None) -> None:
    return None


def reader(config: VisionEncoding) -> Reader:
    """Reader of the speaking face (the largest if lipsync is off), the representative frame, or all kept frames."""
    if config.picture == "frames":
        return encoder_inputs.frame_inputs
    choose = {"face": _SpeakerChoice(Path("out/lipsync/vision")), "frame": _no_face}[config.picture]
    return partial(encoder_inputs.face_inputs, choose=choose)


def pretrained(name: str, config: VisionEncoding, source: str) -> Encoder:
    """A Hugging Face image or video model; `source` is a folder under data/weights, or a hub id@revision."""
    from merc.encoders.vision.backbones import load_vision_model

    return load_vision_model(name, sources.model_folder(source), config.frame_rate)


def _torchvision(name: str, config: VisionEncoding) -> Encoder:
    from merc.encoders.vision.backbones import load_torchvision_model

    return load_torchvision_model(name, config.frame_rate)


_hub = partial(catalogued, lambda name, config: pretrained(name, config, name))
ENCODERS: dict[str, EncoderCard] = {
    "hog": EncoderCard(
        make=lambda name, config: Hog(name, config.frame_rate),
        source="merc/encoders/vision/hog.py",
        licence="MIT",
        width=320,
        description="the offline default; training-free: oriented gradients and brightness",
    ),
    "resnet50": catalogued(
        _torchvision,
        "resnet50",
        width=2048,
        description="ImageNet; a picture per step",
    ),
    "r3d_18": catalogued(
        _torchvision,
        "r3d_18",
        width=512,
        description="Kinetics-400; 16 frames per step: use a frame_rate of about 1",
    ),
    "vit-base-patch16-224": _hub(
        "vit-base-patch16-224",
        width=768,
        description="ImageNet; a picture per step",
    ),
    "timesformer-base-finetuned-k400": _hub(
        "timesformer-base-finetuned-k400",
        width=768,
        description="Kinetics-400; 8 frames per step: use a frame_rate of about 1",
    ),
    "face-expression": catalogued(
        lambda name, config: load_face_expression(name, sources.model_folder(name), config.frame_rate),
        "face-expression",
        width=256,
        description="seven expressions of a face, 0.33 million parameters; a picture per step",
    ),
    "lipsync": EncoderCard(
        make=lambda name, config, home: load_lipsync_mouth(name, home, config.frame_rate),
        source="out/lipsync/vision, from the lipsync stage",
        licence="MIT",
        width=64,
        description="how a mouth moves with a voice; learnt here without labels, needs lipsync.epochs above 0",
        home=Path("out/lipsync/vision"),
    ),
    "none": NO_ENCODER,
}
