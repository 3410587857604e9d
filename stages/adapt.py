"""Adapt: fine-tune one modality's encoder on labelled utterances, first the heads, then also its top layers."""

from pathlib import Path

from pydantic import Field

from merc.data.records.labels import label_space
from merc.data.records.selection import off_metrics, selection
from merc.finetuning.finetuning_config import AugmentationConfig, UnfreezingConfig
from merc.runtime import entry_point, params, results
from merc.runtime.errors import error_context
from merc.training.core import torchrun


class AdaptConfig(UnfreezingConfig):
    """Section `adapt.<modality>` of params.yaml."""

    unfreeze_layers: int = Field(ge=1)
    head_lr: float = Field(gt=0)
    label_smoothing: float = Field(ge=0, lt=1)


class AudioAdaptConfig(AdaptConfig):
    """Section `adapt.audio`."""

    augment: AugmentationConfig


SECTIONS = {"text": AdaptConfig, "audio": AudioAdaptConfig, "vision": AdaptConfig}


@torchrun.reporting
def main(modality: str) -> None:
    """Write out/adapt/<modality> and metrics/adapt/<modality>.json; under torchrun the first process does."""
    config = params.read(f"adapt.{modality}", SECTIONS[modality])
    if config.epochs and torchrun.launch("adapt", modality):
        return
    if torchrun.is_first():
        results.write_disabled(Path("out/adapt") / modality, f"adapt.{modality}.epochs is 0")
    scores = adapt_encoder(modality, config) if config.epochs else {}
    if torchrun.is_first():
        results.write_json(Path("metrics/adapt") / f"{modality}.json", off_metrics() | scores)


def adapt_encoder(modality: str, config: AdaptConfig) -> dict:
    """Fine-tune on train, save the best epoch on dev, return its dev scores; an interrupted run is resumed."""
    from merc.data.batches import label_fraction
    from merc.encoders.base import factory
    from merc.finetuning import trainable_layers
    from merc.runtime import resume
    from merc.training.core import data_parallel, supervision

    section, data = factory.encoding_section(modality), supervision.read_data([modality])
    shares = {
        corpus: data.share[corpus]
        for corpus in data.trained_corpora
        if factory.chosen_encoder(section, corpus) == section.encoder
    }
    with torchrun.joined(f"adapt-{modality}") as home:
        chosen = selection(params.read("train.select", str), data.space)
        inputs = [config.model_dump(), section.model_dump(), str(data.space), chosen, shares, label_fraction.read()]
        folder = resume.work_folder(
            home, [*inputs, trainable_layers.input_files(shares, Path("out/lipsync") / modality)]
        )
        scores = fit_encoder(modality, config, shares, data_parallel.agreed(folder))
        if torchrun.is_first():
            resume.discard(home)
    return scores


def fit_encoder(modality: str, config: AdaptConfig, shares: dict[str, float], folder: Path) -> dict:
    """As `adapt_encoder`, on corpora with their shares; `folder` holds the state of an interrupted run."""
    import numpy as np

    from merc.data.batches import label_fraction, sampling
    from merc.encoders.base import factory
    from merc.finetuning import augmentation, frozen_layers, one_encoder, trainable_layers
    from merc.runtime.device import select_device
    from merc.training.core import loop, supervision
    from merc.training.core.epoch_callbacks import tensorboard
    from merc.training.core.optim import TrainablePart
    from merc.training.core.saved_training import SavedTraining

    section, space = factory.encoding_section(modality), label_space(params.read("data.labels", str))
    chosen = selection(params.read("train.select", str), space)
    supervision.SeedRandomness.seed_all(config.seed)
    encoder = trainable_layers.check_trainable(
        factory.build(modality, section.encoder, section),
        modality,
        section.encoder,
        f"set adapt.{modality}.epochs to 0",
    )
    reader = factory.modality_package(modality).reader(section)
    labelled = label_fraction.LabelSubset(label_fraction.read(), config.seed)
    train = one_encoder.read_utterances("train", shares, reader, space, labelled)
    dev = one_encoder.read_utterances("dev", shares, reader, space)
    sampling.check_epoch_size(float(train.share.sum()), shares, "utterances")
    layers = [] if encoder.untaught else trainable_layers.top_layers(encoder, config.unfreeze_layers, config)
    encoder.to(select_device())
    frozen = frozen_layers.freeze_lower_layers(encoder, config.unfreeze_layers, train.inputs + dev.inputs)
    probe = one_encoder.LinearProbe(encoder, train.classes(chosen), space.tasks, frozen).to(select_device())
    parts = [TrainablePart(probe.new_parameters(), config.head_lr), *layers]
    random = np.random.default_rng(config.seed)
    augment, longest = augmentation.no_augmentation, np.inf
    if isinstance(config, AudioAdaptConfig):
        augment = augmentation.Augmenter(config.augment, random)
        longest = augment.longest
    batches = one_encoder.UtteranceBatches(train, encoder, config.batch, config.seed, longest)
    objective = one_encoder.ProbeObjective(
        train, train.classes(chosen), config.class_weight_power, config.label_smoothing, augment
    )
    score, saved = (
        one_encoder.ProbeScorer(dev, encoder, chosen),
        SavedTraining(folder, {"order": batches.random, "change": random}),
    )
    with error_context(f"adapt: {modality}"), tensorboard(f"adapt-{modality}") as callbacks:
        history = loop.fit(probe, objective, batches, score, config, parts, callbacks, saved)
    scores = score.scores(probe)
    if torchrun.is_first():
        trainable_layers.save_encoder(Path("out/adapt") / modality, encoder)
    return {**scores, "best_epoch": loop.best_epoch(history)}


if __name__ == "__main__":
    entry_point.run(main)
