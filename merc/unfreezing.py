"""What adapt and finetune have in common in params.yaml: frozen first, then unfrozen, at which rates. No torch."""

from pydantic import Field, model_validator

from merc.params import Strict


class Unfreezing(Strict):
    """Fields of sections adapt.<modality> and finetune."""

    epochs: int = Field(ge=0)
    freeze_epochs: int = Field(ge=0)
    lr: float = Field(gt=0)
    layer_decay: float = Field(gt=0, le=1)
    lora: int = Field(ge=0)
    batch: int = Field(ge=1)
    accumulate: int = Field(ge=1)
    checkpointing: bool
    seed: int

    @model_validator(mode="after")
    def _some_epoch_learns(self) -> "Unfreezing":
        if 0 < self.epochs <= self.freeze_epochs:
            raise ValueError("freeze_epochs must be less than epochs, or the encoder never learns")
        return self
