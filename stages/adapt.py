"""Adapt: fine-tune the encoder of one modality on labelled utterances, first the heads, then its top layers too."""

from pathlib import Path

from pydantic import Field

from merc import entry, markers, params, results
from merc.augmentation_settings import Augmentation
from merc.labels import TASKS
from merc.problem import during
from merc.scores import HEADLINE
from merc.unfreezing import Unfreezing

NOTHING = {**{task: dict.fromkeys(HEADLINE) for task in TASKS}, "best_epoch": None}


class AdaptConfig(Unfreezing):
    """Section `adapt.<modality>` of params.yaml."""

    unfreeze_layers: int = Field(ge=1)
    head_lr: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)
    average: float = Field(ge=0, lt=1)


class AudioAdaptConfig(AdaptConfig):
    """Section `adapt.audio`."""

    augment: Augmentation


SECTIONS = {"text": AdaptConfig, "audio": AudioAdaptConfig, "vision": AdaptConfig}


def main(modality: str) -> None:
    """Write out/adapt/<modality> and metrics/adapt/<modality>.json."""
    config = params.read(f"adapt.{modality}", SECTIONS[modality])
    markers.write_off(Path("out/adapt") / modality, f"adapt.{modality}.epochs is 0")
    measured = learn(modality, config) if config.epochs else {}
    results.write_json(Path("metrics/adapt") / f"{modality}.json", NOTHING | measured)


def learn(modality: str, config: AdaptConfig) -> dict:
    """Fine-tune on train, keep the best epoch on dev, save it; a killed run is gone on with. Its scores on dev."""
    from merc import encoders, label_fraction, learning, partial, resuming

    section, data = encoders.section(modality), learning.data([modality])
    users = {c: data.share[c] for c in data.learnt if encoders.chosen(section, c) == section.encoder}
    with partial.locked(f"adapt-{modality}") as home:
        inputs = [config.model_dump(), section.model_dump(), data.labels, users, label_fraction.read()]
        folder = partial.folder(home, [*inputs, resuming.sources(users, Path("out/lipsync") / modality)])
        scores = fit(modality, config, users, folder)
        partial.clear(home)
    return scores


def fit(modality: str, config: AdaptConfig, users: dict[str, float], folder: Path) -> dict:
    """As `learn`, on the corpora in `users`; `folder` holds the state of a training that was killed."""
    import numpy as np

    from merc import adapting, augmentation, encoders, label_fraction, labels, learning, resuming, sampling, tuning
    from merc.device import device

    section, space = encoders.section(modality), labels.space(params.read("data.labels", str))
    learning.Seed.plant(config.seed)
    encoder = encoders.build(modality, section.encoder, section)
    tuning.check_trainable(encoder, modality, section.encoder, f"set adapt.{modality}.epochs to 0")
    reader = encoders.module(modality).reader(section)
    known = label_fraction.Labelled(label_fraction.read(), config.seed)
    train = adapting.read("train", users, reader, space, known)
    dev = adapting.read("dev", users, reader, space)
    parts = [] if encoder.untaught else tuning.top(encoder, config.unfreeze_layers, config)
    probe = adapting.Probe(encoder, train.classes(space)).to(device())
    sampling.enough(float(train.share.sum()), users, "utterances")
    above = [tuning.Part(probe.above(), config.head_lr)]
    plan = tuning.Plan(
        config.epochs, config.freeze_epochs, above, parts, config.accumulate, config.average, encoder.untaught
    )
    random = np.random.default_rng(config.seed)
    change, longest = augmentation.plain, np.inf
    if isinstance(config, AudioAdaptConfig):
        change = augmentation.Augmenter(config.augment, random)
        longest = change.longest
    epochs = adapting.Epochs(train, encoder, config.batch, config.seed, longest)
    judge = adapting.Judge(probe, dev)
    loss = adapting.Loss(probe, train, config.label_smoothing, change)
    saved = resuming.Saved(folder, {"order": epochs.random, "change": random})
    with during(f"adapt: {modality}"):
        best = tuning.fit(probe, plan, epochs, loss, judge, saved)
    tuning.save(Path("out/adapt") / modality, encoder)
    return {**judge.scores(), "best_epoch": best}


if __name__ == "__main__":
    entry.run(main)
