"""Finetune: encoders inside the whole network, frozen at first, then learning with it; off by default."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc import entry, markers, params, results
from merc.labels import TASKS
from merc.manifest import MODALITIES
from merc.problem import during
from merc.scores import HEADLINE
from merc.unfreezing import Unfreezing

OUT = {modality: Path("out/finetune") / modality for modality in MODALITIES}
NOTHING = {**{task: dict.fromkeys(HEADLINE) for task in TASKS}, "best_epoch": None}
CLASS_WEIGHT_POWER, SENTIMENT_WEIGHT = 0.5, 0.5  # of the label loss: as the teacher's by default


class FinetuneConfig(Unfreezing):
    """Section `finetune` of params.yaml."""

    encoders: list[Literal["text", "audio", "vision"]] = Field(min_length=1)
    network_lr: float = Field(gt=0)


def main() -> None:
    """Write out/finetune/<modality> and metrics/finetune.json."""
    config = params.read("finetune", FinetuneConfig)
    for modality, folder in OUT.items():
        markers.write_off(folder, "finetune.epochs is 0" if not config.epochs else f"{modality} is not fine-tuned")
    results.write_json(Path("metrics/finetune.json"), NOTHING | (learn(config) if config.epochs else {}))


def learn(config: FinetuneConfig) -> dict:
    """Fine-tune on train, keep the best epoch on dev, save its encoders; a killed run is gone on with."""
    from merc import encoders, label_fraction, learning, partial, resuming
    from models.network import NetworkConfig

    model = params.read("model", NetworkConfig)
    data = learning.data(model.modalities)
    with partial.locked("finetune") as home:
        sections = [encoders.section(modality).model_dump() for modality in model.modalities]
        sources = resuming.sources(data.learnt, Path("out/lipsync"), Path("out/adapt"))
        inputs = [config.model_dump(), model.model_dump(), data, label_fraction.read(), sections, sources]
        scores = fit(config, model, data, partial.folder(home, inputs))
        partial.clear(home)
    return scores


def fit(config: FinetuneConfig, model, data, folder: Path) -> dict:
    """As `learn`; `folder` holds the state of a training that was killed. Returns its scores on dev."""
    from merc import engine, finetuning, label_fraction, learning, objectives, resuming, tuning
    from merc.device import device
    from models.network import Network

    seed = learning.Seed.plant(config.seed)
    insides = finetuning.start(model.modalities, data.learnt)
    learnt = finetuning.learnt(insides, config.encoders)
    train, dev = (finetuning.read(split, data, insides, learnt) for split in ("train", "dev"))
    known = label_fraction.Labelled(label_fraction.read(), config.seed)
    train = replace(train, split=known.thin(train.split))
    network = Network(model, train.split.streams, train.split.heads())
    engine.standardise(network, train.split)
    weights = objectives.TaskWeights(emotion=1.0, sentiment=SENTIMENT_WEIGHT)
    loss = objectives.Labels.of(train.split, CLASS_WEIGHT_POWER, weights, smoothing=0.0)
    taught = [encoder for encoder in learnt.values() if not encoder.untaught]
    unfrozen = [part for encoder in taught for part in tuning.whole(encoder, config)]
    others = [tuning.Part(encoder.above(), config.network_lr) for encoder in learnt.values()]
    whole = finetuning.EndToEnd(network, learnt, train, loss).to(device())
    above = [tuning.Part(list(network.parameters()), config.network_lr)]
    plan = tuning.Plan(config.epochs, config.freeze_epochs, above, [*unfrozen, *others], config.accumulate)
    draws = seed.draws(train.split, data.share, "shuffled", config.batch, unlabelled=False)
    judge = finetuning.Judge(whole, dev)
    saved = resuming.Saved(folder, {"order": seed.generator})
    with during("finetune"):
        best = tuning.fit(whole, plan, lambda: list(draws()), whole.step, judge, saved)
    for stream, encoder in learnt.items():
        tuning.save(OUT[stream.split("/")[0]], encoder)
    return {**judge.scores(), "best_epoch": best}


if __name__ == "__main__":
    entry.run(main)
