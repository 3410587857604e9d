"""Adapt: fine-tune the encoder of one modality on labelled utterances, first the heads, then its top layers too."""

from pathlib import Path

from pydantic import Field, model_validator

from merc import entry, markers, params, results
from merc.labels import TASKS
from merc.params import Strict
from merc.scores import HEADLINE

NOTHING = {**{task: dict.fromkeys(HEADLINE) for task in TASKS}, "best_epoch": None}


class AdaptConfig(Strict):
    """Section `adapt.<modality>` of params.yaml."""

    epochs: int = Field(ge=0)
    freeze_epochs: int = Field(ge=0)
    unfreeze_layers: int = Field(ge=1)
    lr: float = Field(gt=0)
    head_lr: float = Field(gt=0)
    batch: int = Field(ge=1)
    seed: int

    @model_validator(mode="after")
    def _some_epoch_learns(self) -> "AdaptConfig":
        if 0 < self.epochs <= self.freeze_epochs:
            raise ValueError("freeze_epochs must be less than epochs, or the encoder never learns")
        return self


def main(modality: str) -> None:
    """Write out/adapt/<modality> and metrics/adapt/<modality>.json."""
    config = params.read(f"adapt.{modality}", AdaptConfig)
    markers.write_off(Path("out/adapt") / modality, f"adapt.{modality}.epochs is 0")
    measured = learn(modality, config) if config.epochs else {}
    results.write_json(Path("metrics/adapt") / f"{modality}.json", NOTHING | measured)


def learn(modality: str, config: AdaptConfig) -> dict:
    """Fine-tune on train, keep the best epoch on dev, save it; returns its scores on dev."""
    from merc import adapting, encoders, labels, learning, tuning
    from merc.device import device

    section, data = encoders.section(modality), learning.data([modality])
    learning.Seed.plant(config.seed)
    encoder = encoders.build(modality, section.encoder, section)
    tuning.check_trainable(encoder, modality, section.encoder, f"set adapt.{modality}.epochs to 0")
    users = {c: data.share[c] for c in data.learnt if encoders.chosen(section, c) == section.encoder}
    reader, space = encoders.module(modality).reader(section), labels.space(data.labels)
    train, dev = (adapting.read(split, users, reader, space) for split in ("train", "dev"))
    probe = adapting.Probe(encoder, train.classes(space)).to(device())
    judge = adapting.Judge(probe, dev)
    plan = tuning.Plan(
        config.epochs,
        config.freeze_epochs,
        above=[tuning.Part(probe.above(), config.head_lr)],
        encoder=tuning.top(encoder, config.unfreeze_layers, config.lr),
    )
    epochs = adapting.Epochs(train, encoder, config.batch, config.seed)
    best = tuning.fit(probe, plan, epochs, adapting.Loss(probe, train), judge)
    tuning.save(Path("out/adapt") / modality, encoder)
    return {**judge.scores(), "best_epoch": best}


if __name__ == "__main__":
    entry.run(main)
