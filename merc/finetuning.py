"""Fine-tuning end to end: encoders inside the whole network, fed with words, sounds and faces."""

from collections.abc import Container, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn

from merc import encoders, engine, labels
from merc import manifest as manifests
from merc.batches import Split, assemble
from merc.device import device
from merc.encoders import tuned
from merc.encoders.encoder import Encoder, features
from merc.learning import Data
from merc.objectives import Labels
from merc.params import Strict
from merc.problem import Problem
from merc.sampling import Draw
from merc.scores import scores
from merc.streams import Stream
from merc.tuning import check_trainable, on


@dataclass(frozen=True)
class Inside:
    """One encoder that runs inside the network."""

    encoder: Encoder
    section: Strict  # encode.<modality>
    modality: str

    @property
    def stream(self) -> str:
        return f"{self.modality}/{self.encoder.name}"

    def read(self, split: str, corpora: Sequence[str]) -> list:
        """What it is given of every row; None where the modality is missing or another encoder's."""
        reader = encoders.module(self.modality).reader(self.section)
        raw = []
        for corpus in corpora:
            rows = manifests.read(split, [corpus])
            mine = encoders.chosen(self.section, corpus) == self.encoder.name
            raw += reader(manifests.folder(split, corpus), rows) if mine else [None] * len(rows)
        return raw


def start(modalities: Sequence[str], corpora: Sequence[str]) -> list[Inside]:
    """Every encoder that encodes any of the corpora, as adapt left it."""
    found = []
    for modality in modalities:
        section = encoders.section(modality)
        for name in dict.fromkeys(encoders.chosen(section, corpus) for corpus in corpora):
            encoder = encoders.build(modality, name, section, weights=tuned.folder(modality, name))
            found += [] if encoder is None else [Inside(encoder.to(device()), section, modality)]
    return found


def learnt(insides: list[Inside], wanted: Sequence[str]) -> dict[str, Encoder]:
    """stream -> encoder of the wanted modalities; each is the one that encode.<modality>.encoder names."""
    chosen = {}
    for modality in wanted:
        name = encoders.section(modality).encoder
        own = [one for one in insides if (one.modality, one.encoder.name) == (modality, name)]
        remedy = f"take {modality} out of finetune.encoders"
        if not own:
            raise Problem(f"params.yaml: {modality}: no encoder {name!r} runs inside the network; {remedy}")
        check_trainable(own[0].encoder, modality, name, remedy)
        chosen[own[0].stream] = own[0].encoder
    return chosen


@dataclass(frozen=True)
class Source:
    """A split with the features of its encoders as they were at first, and what the learnt ones are given."""

    split: Split
    raw: dict[str, list]  # stream -> one per row


def read(split: str, data: Data, insides: list[Inside], keep: Container[str]) -> Source:
    """Read and encode one split of the corpora with a share; what the streams in `keep` encoded is kept."""
    found, kept = {}, {}
    for inside in insides:
        raw = inside.read(split, data.learnt)
        found[inside.stream] = encode(inside.encoder, raw)
        if inside.stream in keep:
            kept[inside.stream] = raw
    rows = manifests.read(split, data.learnt)
    return Source(assemble(rows, found, data.modalities, labels.space(data.labels)).to(device()), kept)


def encode(encoder: Encoder, raw: list) -> Stream:
    """The features of every row; none where it has nothing."""
    rows = np.flatnonzero([one is not None for one in raw])
    encoded = features(encoder, [raw[row] for row in rows])
    lengths = np.zeros(len(raw), np.int64)
    lengths[rows] = [len(one) for one in encoded]
    values = np.concatenate([np.zeros((0, encoder.dim), np.float32), *encoded])
    return Stream(*map(torch.from_numpy, (values, np.cumsum(lengths) - lengths, lengths)))


class EndToEnd(nn.Module):
    """The network with the encoders that are learnt inside it.

    The other encoders never change, so that their features, and those of the learnt ones while they are frozen,
    are what they were at first; a learnt encoder runs in every batch once it is unfrozen.
    """

    def __init__(self, network: nn.Module, learnt: dict[str, Encoder], source: Source, loss: Labels) -> None:
        super().__init__()
        self.network = network
        self.encoders = nn.ModuleDict({stream.replace(".", "_"): one for stream, one in learnt.items()})
        self.learnt, self.source, self.loss = learnt, source, loss

    def step(self, draw: Draw) -> Tensor:
        """The loss of the label heads on a batch of dialogues."""
        self.network.train()
        batch = self.source.split.batch(draw.dialogues)
        for stream, encoder in self._awake().items():
            if stream in batch["values"]:
                batch["values"][stream], batch["steps"][stream] = self._encoded(encoder, stream, batch)
        return torch.stack(list(self.loss(self.network(batch), batch).values())).sum()

    def predict(self, source: Source) -> dict[str, np.ndarray]:
        """Logits (N, C) of each task with the encoders as they are now."""
        where = source.split.starts.device
        now = {stream: encode(one, source.raw[stream]).to(where) for stream, one in self._awake().items()}
        return engine.predict(self.network, replace(source.split, features=source.split.features | now))

    def _awake(self) -> dict[str, Encoder]:
        """The encoders that are not frozen."""
        return {s: one for s, one in self.learnt.items() if any(p.requires_grad for p in one.parameters())}

    def _encoded(self, encoder: Encoder, stream: str, batch: dict) -> tuple[Tensor, Tensor]:
        where = batch["index"].device
        rows = batch["index"][batch["rows"][stream]].tolist()
        raw = [self.source.raw[stream][row] for row in rows]
        values, steps = encoder(on(where, encoder.prepare(raw)))
        return values, steps.to(where)


@dataclass(frozen=True)
class Judge:
    """Scores the network on dev."""

    network: EndToEnd
    dev: Source

    def __call__(self) -> float:
        """What the best epoch is chosen by: the emotions' macro F1."""
        return self.scores()["emotion"]["macro_f1"]

    def scores(self) -> dict[str, dict[str, float]]:
        """Every headline score of every head."""
        targets = {task: target.cpu().numpy() for task, target in self.dev.split.targets.items()}
        logits = self.network.predict(self.dev)
        return {task: scores(targets[task], one.argmax(axis=1), one.shape[1]) for task, one in logits.items()}
