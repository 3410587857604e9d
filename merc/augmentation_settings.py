"""What `adapt.audio.augment` of params.yaml may say. No torch."""

from pydantic import Field

from merc.params import Strict


class Augmentation(Strict):
    """What is done to each training sound every time that it is heard; 0 = nothing."""

    speed: float = Field(ge=0, lt=1)
    seconds: float = Field(ge=0)
    gain: float = Field(ge=0)
    noise: float = Field(ge=0, le=1)
    time_mask: float = Field(ge=0, lt=1)
    band_mask: float = Field(ge=0, lt=1)
    mixup: float = Field(ge=0, le=1)
