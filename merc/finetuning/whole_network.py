"""Fine-tuning encoders end to end inside the network (stage finetune): data, module, dev scores."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Self

import numpy as np
import torch
from torch import Tensor, nn

from merc.data.batches.dataset import Split, build_split
from merc.data.batches.streams import FeatureStream
from merc.data.records import manifest as manifests
from merc.data.records.selection import Selection
from merc.data.records.stream_name import StreamName
from merc.encoders.base import factory
from merc.encoders.base.encoder import Encoder, extract_features
from merc.encoders.base.registry import EncodingSection
from merc.finetuning.trainable_layers import check_trainable
from merc.runtime.device import select_device
from merc.runtime.errors import UserError
from merc.training.core import data_parallel, loop
from merc.training.core.network import MultimodalNetwork
from merc.training.core.objectives import LabelLoss
from merc.training.core.supervision import TrainingData, selecting_score
from merc.training.core.task_scores import scores_by_task


@dataclass(frozen=True)
class NetworkEncoder:
    """One encoder that runs inside the network."""

    encoder: Encoder
    section: EncodingSection  # encode.<modality>
    modality: str

    @property
    def stream(self) -> str:
        return str(StreamName(self.modality, self.encoder.name))

    def read(self, split: str, corpora: Sequence[str]) -> list:
        """The encoder's input of every row; None if the modality is missing or another encoder's."""
        reader = factory.modality_package(self.modality).reader(self.section)
        inputs = []
        for corpus in corpora:
            rows = manifests.read_manifests(split, [corpus])
            is_encoded = factory.chosen_encoder(self.section, corpus) == self.encoder.name
            inputs += reader(manifests.split_folder(split, corpus), rows) if is_encoded else [None] * len(rows)
        return inputs


def load_encoders(modalities: Sequence[str], corpora: Sequence[str]) -> list[NetworkEncoder]:
    """Every encoder that encodes any of the corpora, with the weights of the stage adapt."""
    encoders = []
    for modality in modalities:
        by_name = {}
        for corpus in corpora:
            selection = factory.select_encoder(modality, corpus)
            by_name.setdefault(selection.name, selection)
        for selection in by_name.values():
            encoder = selection.build()
            if encoder is not None:
                encoders.append(NetworkEncoder(encoder.to(select_device()), selection.config, modality))
    return encoders


def select_trainable(insides: list[NetworkEncoder], wanted: Sequence[str]) -> dict[str, Encoder]:
    """stream -> encoder to fine-tune, one per wanted modality: the one that encode.<modality>.encoder names."""
    encoders = {}
    for modality in wanted:
        name = factory.encoding_section(modality).encoder
        matches = [inside for inside in insides if (inside.modality, inside.encoder.name) == (modality, name)]
        remedy = f"take {modality} out of finetune.encoders"
        if not matches:
            raise UserError(f"params.yaml: {modality}: no encoder {name!r} runs inside the network; {remedy}")
        check_trainable(matches[0].encoder, modality, name, remedy)
        encoders[matches[0].stream] = matches[0].encoder
    return encoders


@dataclass(frozen=True)
class EncodedSplit:
    """A split with its features before fine-tuning, and the inputs of the encoders that are fine-tuned."""

    split: Split
    inputs: dict[str, list]  # stream -> encoder input of each row


def read_encoded_split(
    split: str, data: TrainingData, insides: list[NetworkEncoder], keep: Container[str]
) -> EncodedSplit:
    """Read and encode one split of the corpora with a share; keep the encoder inputs of the streams in `keep`."""
    streams, kept = {}, {}
    for inside in insides:
        inputs = inside.read(split, data.trained_corpora)
        streams[inside.stream] = encode_inputs(inside.encoder, inputs)
        if inside.stream in keep:
            kept[inside.stream] = inputs
    rows = manifests.read_manifests(split, data.trained_corpora)
    return EncodedSplit(build_split(rows, streams, data.modalities, data.space).to(select_device()), kept)


def encode_inputs(encoder: Encoder, inputs: list) -> FeatureStream:
    """The features of every row, of length 0 where the input is None."""
    rows = torch.tensor([row for row, row_input in enumerate(inputs) if row_input is not None], dtype=torch.long)
    encoded = extract_features(encoder, [inputs[row] for row in data_parallel.part(rows.tolist())])
    lengths = torch.zeros(len(inputs), dtype=torch.long)
    lengths[rows] = data_parallel.gather(torch.tensor([len(features) for features in encoded], dtype=torch.long))
    values = np.concatenate([np.zeros((0, encoder.dim), np.float32), *encoded])
    return FeatureStream.of(data_parallel.gather(torch.from_numpy(values)), lengths.cumsum(0) - lengths, lengths)


class EndToEndNetwork(nn.Module):
    """The network with the encoders that are fine-tuned inside it.

    Frozen encoders are not run: their features are those computed at the start. A fine-tuned encoder runs in every
    batch once it is unfrozen.
    """

    def __init__(self, network: MultimodalNetwork, trainable: dict[str, Encoder]) -> None:
        super().__init__()
        self.network, self.trainable = network, trainable
        self.encoders = nn.ModuleDict({stream.replace(".", "_"): encoder for stream, encoder in trainable.items()})

    def train(self, mode: bool = True) -> Self:
        """Encoders stay in eval mode: no batch statistics, no masking of their input (as SpecAugment)."""
        super().train(mode)
        self.encoders.eval()
        return self

    def unfrozen(self) -> dict[str, Encoder]:
        """The encoders that are not frozen."""
        return {
            stream: encoder
            for stream, encoder in self.trainable.items()
            if any(parameter.requires_grad for parameter in encoder.parameters())
        }


@dataclass(frozen=True)
class EndToEndObjective:
    """The label loss on a batch of dialogues, through the encoders that are not frozen.

    Of several processes each encodes a part of the utterances, and has the loss of all.
    """

    source: EncodedSplit
    loss: LabelLoss

    def __call__(self, end_to_end: EndToEndNetwork, batch: dict) -> dict[str, Tensor]:
        for stream, encoder in end_to_end.unfrozen().items():
            if stream in batch["values"]:
                rows = batch["index"][batch["rows"][stream]].tolist()
                encode = partial(self._encode, encoder, self.source.inputs[stream], batch["index"].device)
                batch["values"][stream], batch["steps"][stream] = data_parallel.divided(encode, rows)
        return self.loss(end_to_end.network(batch), batch)

    @staticmethod
    def _encode(encoder: Encoder, inputs: list, device: torch.device, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Features (n, S, D) of these rows and their numbers of steps (n,)."""
        tensors = encoder.prepare([inputs[row] for row in rows])
        values, steps = encoder({name: tensor.to(device) for name, tensor in tensors.items()})
        return values, steps.to(device)


@dataclass(frozen=True)
class EndToEndScorer:
    """Scores the network on dev; the score of `train.select` chooses the best epoch."""

    dev: EncodedSplit
    chosen: Selection

    def __call__(self, end_to_end: EndToEndNetwork) -> dict[str, float]:
        value = self.scores(end_to_end)[self.chosen.task][self.chosen.metric]
        return {loop.SCORE: selecting_score(value, self.chosen)}

    def scores(self, end_to_end: EndToEndNetwork) -> dict[str, dict[str, float]]:
        """The headline scores of every task."""
        targets = {task: target.cpu().numpy() for task, target in self.dev.split.targets.items()}
        return scores_by_task(self.dev.split.tasks, targets, self.predict(end_to_end))

    def predict(self, end_to_end: EndToEndNetwork) -> dict[str, np.ndarray]:
        """Logits (N, C) of each task with the encoders' current weights."""
        split = self.dev.split
        current = {
            stream: encode_inputs(encoder, self.dev.inputs[stream]).to(split.starts.device)
            for stream, encoder in end_to_end.unfrozen().items()
        }
        return loop.predict(end_to_end.network, replace(split, features=split.features | current))
