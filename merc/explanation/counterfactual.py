"""Predictions of a network for single utterances whose features or modalities are changed."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from merc.data.records.labels import UNLABELLED
from merc.data.records.stream_name import StreamName

NONE = "none"  # of the classes of a multilabel task
MAX_ROWS = 600  # copied rows in one pass of the network, up to one dialogue more

# stream, its values (n, S, D), the queries that they belong to (n,) -> changed values of the same shape
Change = Callable[[str, Tensor, Tensor], Tensor]
# of one modality of Q queries: the projected steps (Q, S, D) and the feature deviations (Q,)
Encoded = tuple[Tensor, Tensor]


def explained_task(network: Any) -> str:
    """The task whose answers are explained: the first classification; without one the first task."""
    return network.lead or next(iter(network.labels))


def explained_classes(network: Any, task: str | None = None) -> tuple[str, ...]:
    """The classes between which an explained task chooses (`as_classes`)."""
    task = task or explained_task(network)
    kind, names = network.kinds[task], network.labels[task]
    if kind.kind == "regression":
        middle = sum(kind.range) / 2
        return f"{task} below {middle:g}", f"{task} above {middle:g}"
    return (*names, NONE) if kind.kind == "multilabel" else names


def as_classes(network: Any, task: str, outputs: Tensor) -> Tensor:
    """(..., C') logits of `explained_classes`, from the outputs (..., C) of a task of any kind.

    A number is above or below the middle of its range: its log-odds are its distance from the middle, in its own
    unit. The classes of a multilabel task are held against each other and against none of them, whose logit is 0.
    """
    kind = network.kinds[task]
    if kind.kind == "regression":
        half = (outputs - sum(kind.range) / 2) / 2
        return torch.cat([-half, half], -1)
    return torch.cat([outputs, torch.zeros_like(outputs[..., :1])], -1) if kind.kind == "multilabel" else outputs


def actual_classes(network: Any, task: str, targets: Tensor) -> Tensor:
    """(N,) number of the explained class of each row's label, negative without one; of several the first."""
    kind = network.kinds[task]
    if kind.kind == "classification":
        return targets
    if kind.kind == "regression":
        return torch.where(targets.isnan(), UNLABELLED, (targets > sum(kind.range) / 2).long())
    held = torch.cat([targets.nan_to_num(), torch.ones_like(targets[:, :1])], 1).argmax(1)
    return torch.where(targets.isnan().any(1), UNLABELLED, held)


class Probe:
    """A network and a batch of whole dialogues (N rows), to change the input of one utterance at a time.

    A query is one row of the batch with its own change; Q queries are given by their rows (Q,), in which a row may
    occur several times. Each query gets a copy of its dialogue, in which only the query row is changed. What the
    stems and MISLS compute for the other rows is the same in all copies and therefore computed only once.
    """

    def __init__(self, network: Any, batch: dict):
        self.network, self.batch = network.eval().requires_grad_(False), batch
        self.task = explained_task(network)
        with torch.no_grad():
            self.hidden, self.steps, self.deviation = network.encode(batch)
            has_steps = torch.stack([self.steps[m] > 0 for m in network.modalities], 1)
            self.present = batch["present"] & has_steps
            self.latent, self.latent_steps = network.misls(self.hidden, self.steps, self.present)
        num_rows = len(batch["present"])
        self.entries = {stream: _entry_of_row(rows, num_rows) for stream, rows in batch["rows"].items()}
        self.dialogue = batch["place"][:, 0]
        self.lengths = torch.bincount(self.dialogue)
        self.starts = self.lengths.cumsum(0) - self.lengths

    def __len__(self) -> int:
        return len(self.dialogue)

    @property
    def actual(self) -> Tensor:
        """(N,) the explained class of each row's label, negative without one."""
        return actual_classes(self.network, self.task, self.batch[self.task])

    @property
    def rows(self) -> Tensor:
        """(N,) every row once."""
        return torch.arange(len(self), device=self.dialogue.device)

    def chunks(self, rows: Tensor) -> Iterator[Tensor]:
        """Indices of the queries (Q,), in order, split so that one pass copies about MAX_ROWS rows at most."""
        number = (self.lengths[self.dialogue[rows]].cumsum(0) - 1) // MAX_ROWS
        yield from torch.arange(len(rows), device=rows.device).split(
            torch.unique(number, return_counts=True)[1].tolist()
        )

    def logits(self, rows: Tensor, present: Tensor | None = None) -> Tensor:
        """(Q, C) logits of the explained task for the query rows, without what `present` (Q, M) hides."""
        with torch.no_grad():
            parts = [
                self.changed_logits(rows[chunk], None if present is None else present[chunk])
                for chunk in self.chunks(rows)
            ]
        if not parts:  # there is no query
            return torch.zeros(0, len(explained_classes(self.network)), device=self.dialogue.device)
        return torch.cat(parts)

    def changed_logits(self, rows: Tensor, present: Tensor | None = None, change: Change | None = None) -> Tensor:
        """(Q, C) the same of the changed query rows, in one pass; differentiable in what `change` returns."""
        return self.outputs(rows, present, change)[self.task]

    def outputs(
        self, rows: Tensor, present: Tensor | None = None, change: Change | None = None
    ) -> dict[str, Tensor]:
        """As `changed_logits`, the logits (Q, C) of every task, and "gate" (Q, C, M) if the fusion has gates."""
        return self.outputs_from_encoded(rows, {} if change is None else self.reencode(rows, change), present)

    def outputs_from_encoded(
        self, rows: Tensor, encoded: dict[str, Encoded], present: Tensor | None = None
    ) -> dict[str, Tensor]:
        """As `outputs`, from what `reencode` returns; modalities that are not in it keep their features."""
        copied, query, target = self._repeat_dialogues(rows)
        place = torch.stack([query, self.batch["place"][copied, 1]], 1)
        batch = {"place": place, "speaker": self.batch["speaker"][copied]}
        outputs = self.network.fuse(*self._latents(rows, copied, target, present, encoded), batch)
        logits = {
            task: as_classes(self.network, task, outputs[task][target])
            for task in self.network.labels
            if task in outputs
        }
        if "gate" not in outputs["weights"]:
            return logits
        gate = outputs["weights"]["gate"][target]  # a single gate is that of every class
        return logits | {"gate": gate.expand(-1, logits[self.task].shape[1], -1)}

    def _latents(
        self, rows: Tensor, copied: Tensor, target: Tensor, present: Tensor | None, encoded: dict[str, Encoded]
    ) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
        """Inputs of the network's `fuse` for the copied rows (R,): the query rows, at `target` (Q,), are changed.

        These are latent sequences {m: (R, S_m, D)}, their steps {m: (R,)}, presence (R, M), deviations (R, M).
        """
        hidden, steps = (
            {m: values[rows] for m, values in by_modality.items()} for by_modality in (self.hidden, self.steps)
        )
        hidden |= {m: changed for m, (changed, _) in encoded.items()}
        columns = enumerate(self.network.modalities)
        query_deviation = torch.stack(
            [encoded[m][1] if m in encoded else self.deviation[rows, column] for column, m in columns], 1
        )
        query_present = self.present[rows] if present is None else self.present[rows] & present
        query_latent, query_steps = self.network.misls(hidden, steps, query_present)
        latent = {m: z[copied].index_copy(0, target, query_latent[m]) for m, z in self.latent.items()}
        latent_steps = {
            m: num_steps[copied].index_copy(0, target, query_steps[m]) for m, num_steps in self.latent_steps.items()
        }
        all_present = self.present[copied].index_copy(0, target, query_present)
        return latent, latent_steps, all_present, self.deviation[copied].index_copy(0, target, query_deviation)

    def _repeat_dialogues(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Copy the dialogue of each query: R rows, one dialogue after another.

        Returns the copied rows (R,), the query that each copy belongs to (R,), and the positions of the query rows
        among the copies (Q,).
        """
        dialogue = self.dialogue[rows]
        lengths = self.lengths[dialogue]
        query = torch.repeat_interleave(torch.arange(len(rows), device=rows.device), lengths)
        before = lengths.cumsum(0) - lengths
        turn = torch.arange(len(query), device=rows.device) - before[query]
        return self.starts[dialogue][query] + turn, query, before + rows - self.starts[dialogue]

    def reencode(self, rows: Tensor, change: Change) -> dict[str, Encoded]:
        """Encode the query rows with changed values, by modality.

        A modality is left out if `change` returns the values of all its streams as they are, as the same tensors.
        """
        batch: dict[str, Any] = {"values": {}, "rows": {}, "steps": {}, "present": self.batch["present"][rows]}
        offsets = self.batch.get("speaker_offsets", {})
        batch["speaker_offsets"] = {stream: of_rows[rows] for stream, of_rows in offsets.items()}
        changed = set()  # modalities
        for stream, entries in self.entries.items():
            queries = (entries[rows] >= 0).nonzero().squeeze(1)
            query_entries = entries[rows][queries]
            if len(query_entries):
                original = self.batch["values"][stream][query_entries]
                batch["values"][stream] = values = change(stream, original, queries)
                batch["rows"][stream], batch["steps"][stream] = queries, self.batch["steps"][stream][query_entries]
                changed |= {StreamName.parse(stream).modality} if values is not original else set()
        kept = {stream for stream in batch["values"] if StreamName.parse(stream).modality in changed}
        batch["values"] = {stream: values for stream, values in batch["values"].items() if stream in kept}
        hidden, _, deviation = self.network.encode(batch)
        # padded to as many steps as the whole batch: the stream with the longest sequences may have no query row
        padded = {
            m: functional.pad(hidden[m], (0, 0, 0, self.hidden[m].shape[1] - hidden[m].shape[1])) for m in changed
        }
        return {m: (values, deviation[:, self.network.modalities.index(m)]) for m, values in padded.items()}


def log_odds(logits: Tensor, emotion: Tensor) -> Tensor:
    """(Q,) log p / (1 - p) of each row's emotion (Q,), from logits (Q, C): the explained output.

    Unlike p it does not saturate.
    """
    others = logits.scatter(1, emotion[:, None], -torch.inf)
    return logits.gather(1, emotion[:, None]).squeeze(1) - others.logsumexp(1)


def probability(logits: Tensor, emotion: Tensor) -> Tensor:
    """(Q,) p of each row's emotion (Q,), from logits (Q, C); float64 on the CPU, as a Mac's GPU has no float64."""
    return logits.cpu().double().softmax(1).gather(1, emotion.cpu()[:, None]).squeeze(1)


def _entry_of_row(rows: Tensor, num_rows: int) -> Tensor:
    """(num_rows,) index in `rows` (n,) of each row of the batch; -1 of a row that is not in it."""
    return torch.full((num_rows,), -1, device=rows.device).index_copy(
        0, rows, torch.arange(len(rows), device=rows.device)
    )
