"""Settings of fine-tuning in params.yaml: sections adapt.<modality> and finetune. Does not import torch."""

from pydantic import Field, model_validator

from merc.runtime.params import Seed, StrictModel
from merc.training.core.loop_config import LoopConfig


class AugmentationConfig(StrictModel):
    """Section `adapt.audio.augment`: random changes of each training sound in each epoch; 0 turns one off."""

    speed: float = Field(ge=0, lt=1)
    seconds: float = Field(ge=0)
    gain: float = Field(ge=0)
    noise: float = Field(ge=0, le=1)
    time_mask: float = Field(ge=0, lt=1)
    band_mask: float = Field(ge=0, lt=1)
    mixup: float = Field(ge=0, le=1)


class UnfreezingConfig(LoopConfig):
    """Fields that the sections adapt.<modality> and finetune share."""

    freeze_epochs: int = Field(ge=0)
    layer_decay: float = Field(gt=0, le=1)
    lora: int = Field(ge=0)
    class_weight_power: float = Field(ge=0)
    checkpointing: bool
    seed: Seed

    @model_validator(mode="after")
    def _check_epochs(self) -> "UnfreezingConfig":
        if 0 < self.epochs <= self.freeze_epochs:
            raise ValueError("freeze_epochs must be less than epochs, or the encoder never learns")
        return self
