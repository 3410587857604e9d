"""Settings that every training has in params.yaml. Does not import torch."""

from typing import Annotated, Literal

from pydantic import Field

from merc.runtime.params import StrictModel

MAX_COUNT = 100_000  # of epochs, and of what is in a batch: more is a slip of the hand


class LoopConfig(StrictModel):
    """The settings of `fit`, in the sections lipsync, adapt.<modality>, finetune, pretrain, train and distill."""

    epochs: int = Field(ge=0, le=MAX_COUNT)
    patience: int = Field(ge=1, le=MAX_COUNT)
    lr: float = Field(gt=0)
    optimiser: Literal["adamw", "adam"]
    schedule: Literal["constant", "cosine", "plateau"]
    warmup: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0)
    clip: float = Field(gt=0)
    average: float = Field(ge=0, lt=1)
    batch: int = Field(ge=1, le=MAX_COUNT)
    accumulate: int = Field(ge=1, le=MAX_COUNT)
    precision: Literal["float32", "bfloat16"]


# task -> its weight in the label loss; a task that is not named weighs 1
TaskWeights = dict[str, Annotated[float, Field(ge=0)]]
