"""Finetune: encoders inside the whole network, frozen at first, then learning with it; off by default."""

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from merc import entry, markers, params, results
from merc.labels import TASKS
from merc.manifest import MODALITIES
from merc.params import Strict
from merc.scores import HEADLINE

OUT = {modality: Path("out/finetune") / modality for modality in MODALITIES}
NOTHING = {**{task: dict.fromkeys(HEADLINE) for task in TASKS}, "best_epoch": None}
CLASS_WEIGHT_POWER, SENTIMENT_WEIGHT = 0.5, 0.5  # of the label loss: as the teacher's by default


class FinetuneConfig(Strict):
    """Section `finetune` of params.yaml."""

    epochs: int = Field(ge=0)
    freeze_epochs: int = Field(ge=0)
    encoders: list[Literal["text", "audio", "vision"]] = Field(min_length=1)
    lr: float = Field(gt=0)
    network_lr: float = Field(gt=0)
    batch: int = Field(ge=1)
    seed: int

    @model_validator(mode="after")
    def _some_epoch_learns(self) -> "FinetuneConfig":
        if 0 < self.epochs <= self.freeze_epochs:
            raise ValueError("freeze_epochs must be less than epochs, or the encoders never learn")
        return self


def main() -> None:
    """Write out/finetune/<modality> and metrics/finetune.json."""
    config = params.read("finetune", FinetuneConfig)
    for modality, folder in OUT.items():
        markers.write_off(folder, "finetune.epochs is 0" if not config.epochs else f"{modality} is not fine-tuned")
    results.write_json(Path("metrics/finetune.json"), NOTHING | (learn(config) if config.epochs else {}))


def learn(config: FinetuneConfig) -> dict:
    """Fine-tune on train, keep the best epoch on dev, save its encoders; returns its scores on dev."""
    from merc import engine, finetuning, learning, objectives, tuning
    from merc.device import device
    from models.network import Network, NetworkConfig

    model = params.read("model", NetworkConfig)
    data, seed = learning.data(model.modalities), learning.Seed.plant(config.seed)
    insides = finetuning.start(model.modalities, data.learnt)
    learnt = finetuning.learnt(insides, config.encoders)
    train, dev = (finetuning.read(split, data, insides, learnt) for split in ("train", "dev"))
    network = Network(model, train.split.streams, train.split.heads())
    engine.standardise(network, train.split)
    weights = objectives.TaskWeights(emotion=1.0, sentiment=SENTIMENT_WEIGHT)
    loss = objectives.Labels.of(train.split, CLASS_WEIGHT_POWER, weights, smoothing=0.0)
    whole = finetuning.EndToEnd(network, learnt, train, loss).to(device())
    plan = tuning.Plan(
        config.epochs,
        config.freeze_epochs,
        above=[tuning.Part(list(network.parameters()), config.network_lr)],
        encoder=[part for encoder in learnt.values() for part in tuning.whole(encoder, config.lr)],
    )
    draws, judge = seed.draws(train.split, data.share, "shuffled", config.batch), finetuning.Judge(whole, dev)
    best = tuning.fit(whole, plan, lambda: list(draws()), whole.step, judge)
    for stream, encoder in learnt.items():
        tuning.save(OUT[stream.split("/")[0]], encoder)
    return {**judge.scores(), "best_epoch": best}


if __name__ == "__main__":
    entry.run(main)
