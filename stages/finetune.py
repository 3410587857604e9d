"""Finetune: train encoders end to end with the network, at first frozen; off by default."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import Field

from merc.data.records.manifest import MODALITIES
from merc.data.records.selection import off_metrics, selection
from merc.data.records.stream_name import StreamName
from merc.finetuning.finetuning_config import UnfreezingConfig
from merc.runtime import entry_point, params, results
from merc.runtime.errors import error_context
from merc.training.core import torchrun
from merc.training.core.loop_config import TaskWeights

OUT = {modality: Path("out/finetune") / modality for modality in MODALITIES}


class FinetuneConfig(UnfreezingConfig):
    """Section `finetune` of params.yaml."""

    encoders: list[Literal["text", "audio", "vision"]] = Field(min_length=1)
    network_lr: float = Field(gt=0)
    task_weights: TaskWeights


@torchrun.reporting
def main() -> None:
    """Write out/finetune/<modality> and metrics/finetune.json; under torchrun the first process does."""
    config = params.read("finetune", FinetuneConfig)
    if config.epochs and torchrun.launch("finetune"):
        return
    for modality, folder in OUT.items() if torchrun.is_first() else ():
        results.write_disabled(
            folder, "finetune.epochs is 0" if not config.epochs else f"{modality} is not fine-tuned"
        )
    scores = finetune_encoders(config) if config.epochs else {}
    if torchrun.is_first():
        results.write_json(Path("metrics/finetune.json"), off_metrics() | scores)


def finetune_encoders(config: FinetuneConfig) -> dict:
    """Fine-tune on train, save the best epoch's encoders on dev, return its scores; resume an interrupted run."""
    from merc.data.batches import label_fraction
    from merc.encoders.base import factory
    from merc.finetuning import trainable_layers
    from merc.runtime import resume
    from merc.training.core import data_parallel, supervision
    from models.network import NetworkConfig

    model = params.read("model", NetworkConfig)
    data = supervision.read_data(model.modalities)
    with torchrun.joined("finetune") as home:
        sections = [factory.encoding_section(modality).model_dump() for modality in model.modalities]
        sources = trainable_layers.input_files(data.trained_corpora, Path("out/lipsync"), Path("out/adapt"))
        chosen = selection(params.read("train.select", str), data.space)
        inputs = [
            config.model_dump(),
            model.model_dump(),
            data,
            str(data.space),
            chosen,
            label_fraction.read(),
            sections,
            sources,
        ]
        folder = data_parallel.agreed(resume.work_folder(home, inputs))
        scores = fit_encoders(config, model, data, folder)
        if torchrun.is_first():
            resume.discard(home)
    return scores


def fit_encoders(config: FinetuneConfig, model, data, folder: Path) -> dict:
    """As `finetune_encoders`; `folder` holds the state of an interrupted run."""
    from merc.data.batches import label_fraction
    from merc.finetuning import trainable_layers, whole_network
    from merc.runtime.device import select_device
    from merc.training.core import loop, objectives, supervision
    from merc.training.core.epoch_callbacks import tensorboard
    from merc.training.core.optim import TrainablePart
    from merc.training.core.saved_training import SavedTraining
    from models.network import Network

    seed = supervision.SeedRandomness.seed_all(config.seed)
    streams = whole_network.load_encoders(model.modalities, data.trained_corpora)
    trainable = whole_network.select_trainable(streams, config.encoders)
    train, dev = (whole_network.read_encoded_split(split, data, streams, trainable) for split in ("train", "dev"))
    chosen = selection(params.read("train.select", str), data.space)
    labelled = label_fraction.LabelSubset(label_fraction.read(), config.seed)
    train = replace(train, split=labelled.hide_labels(train.split))
    network = Network(model, train.split.streams, train.split.heads(), train.split.kinds())
    network.mask_unseen(train.split.unseen())
    loop.standardise(network, train.split)
    loss = objectives.LabelLoss.of(train.split, config.class_weight_power, config.task_weights, smoothing=0.0)
    parts = [TrainablePart(list(network.parameters()), config.network_lr)]
    for encoder in trainable.values():
        parts += [] if encoder.untaught else trainable_layers.all_layers(encoder, config)
        parts.append(TrainablePart(encoder.new_parameters(), config.network_lr, config.freeze_epochs))
    end_to_end = whole_network.EndToEndNetwork(network, trainable).to(select_device())
    objective, score = whole_network.EndToEndObjective(train, loss), whole_network.EndToEndScorer(dev, chosen)
    batches = seed.batches(train.split, data.share, "shuffled", config.batch, unlabelled=False)
    saved = SavedTraining(folder, {"order": seed.generator})
    with error_context("finetune"), tensorboard("finetune") as callbacks:
        history = loop.fit(end_to_end, objective, batches, score, config, parts, callbacks, saved)
    scores = score.scores(end_to_end)
    for stream, encoder in trainable.items() if torchrun.is_first() else ():
        trainable_layers.save_encoder(OUT[StreamName.parse(stream).modality], encoder)
    return {**scores, "best_epoch": loop.best_epoch(history)}


if __name__ == "__main__":
    entry_point.run(main)
