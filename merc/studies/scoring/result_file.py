"""The result file: what `merc score` writes and `merc leaderboard` reads; docs/score.md explains every number.

Undefined numbers are null: an interval without a drawn label, a spread over a single seed.
"""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from merc.data.records.labels import Kind
from merc.runtime import results
from merc.runtime.errors import UserError

FORMAT = "merc-result-1"
Number = float | None
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Measure = Literal["accuracy", "weighted_f1", "macro_f1", "uar", "subset_accuracy", "mae", "pearson", "ccc",
                  "acc2", "acc2_f1", "acc2_nonzero", "acc2_nonzero_f1", "acc5", "acc7"]  # fmt: skip


class Record(BaseModel):
    """Base of the parts: no other keys; numbers are not converted from strings."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Score(Record):
    """Mean over seeds, standard deviation over seeds, and 95 % bootstrap interval over groups and seeds."""

    value: Number
    std: Number
    low: Number
    high: Number


Scores = dict[Measure, Score]


class ClassScore(Record):
    """Scores of one class, means over seeds; the interval is the F1's."""

    label: str
    precision: Number
    recall: Number
    f1: Number
    f1_low: Number
    f1_high: Number
    support: int


class SliceScore(Record):
    """Scores of a part of the split."""

    name: str
    utterances: int
    accuracy: Number = None
    macro_f1: Number = None
    mae: Number = None  # of a regression, with
    ccc: Number = None
    worst: bool  # of the slices of 20 utterances or more


class Comparison(Record):
    """This system - the other in macro F1 (a regression: CCC), with paired tests; else only the verdict."""

    other: str
    digest: Digest | None  # of the other's predictions; null for the floor, which is fitted here
    verdict: str
    difference: Number = None
    low: Number = None
    high: Number = None
    permutation_p: Number = None
    mcnemar_p: Number = None
    paired_t_p: Number = None
    cohen_d: Number = None


class CurvePoint(Record):
    """Macro F1, of a regression CCC, where each modality of an utterance is missing with a probability."""

    rate: float
    macro_f1: Number = None
    ccc: Number = None
    low: Number
    high: Number


class Equity(Record):
    """How evenly a system rests on its modalities (docs/score.md): 1 evenly, 0 on one alone."""

    equity: Number
    losses: dict[str, Number]  # modality -> macro F1, of a regression CCC, lost without it


class TaskResult(Record):
    """Everything that is said of a task."""

    kind: Literal["labels", "numbers", "probabilities", "parts"]  # parts: what evaluate calibrated
    task_kind: Kind = "classification"
    measure: Measure | None = None  # by which systems are ordered, if the task has not the protocol's
    classes: list[str]  # none of a regression
    utterances: int  # with a label
    scores: Scores
    by_class: list[ClassScore]
    majority: dict[Measure, Number]  # of always predicting the commonest label of train, of numbers the median
    jensen_shannon: Number = None  # from the annotators' votes
    clean_utterances: int  # that share no text or recording with train or dev
    clean: Scores | None
    slices: list[SliceScore]
    dev: Scores | None
    selection_gap: dict[str, Number] | None  # of the epochs' conditions, for the first task
    calibration: dict[str, Number | dict[str, Number]] | None
    comparison: Comparison | None
    floor: Scores | None
    against_floor: Comparison | None
    smallest_difference: dict[Measure, Number]
    smallest_difference_pair: str  # the system that the difference is measured against
    conditions: dict[str, Number]  # macro F1 (CCC) by condition, and the summaries of metrics/robustness.json
    curve: list[CurvePoint]
    equity: Equity | None
    replicates: list[Number]  # of that measure, by bootstrap round, by which two files are paired


class ProtocolStamp(Record):
    """By which protocol it was scored."""

    corpus: str
    version: str
    split: Literal["train", "dev", "test"]
    labels: str
    measure: Measure


class ReferenceStamp(Record):
    """Which utterances and labels it was scored against."""

    source: str
    utterances: int
    groups: int
    digest: Digest  # of ids and labels
    scored: int  # utterances that were scored: less than all with --allow-missing
    scored_digest: Digest  # of those


class PredictionsStamp(Record):
    """Which predictions were scored."""

    files: list[str]
    digest: Digest
    seeds: list[int]
    conditions: list[str]
    missing: int  # labelled utterances without a prediction


class ResultFile(Record):
    """One system, scored."""

    format: Literal["merc-result-1"]
    merc: str  # version
    system: str
    selected_on: Literal["dev", "test", "unknown"]
    protocol: ProtocolStamp
    reference: ReferenceStamp
    predictions: PredictionsStamp
    tasks: dict[str, TaskResult]
    notes: list[str]  # what is absent, and why; what was left out


def write(path: Path, result: ResultFile) -> None:
    """Write a result file; the same bytes for the same numbers."""
    results.write_json(path, result.model_dump())


def read(path: Path) -> ResultFile:
    """Read a result file; raise with the first key that is wrong."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    try:
        return ResultFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"])) or "the file"
        raise UserError(
            f"{path}: is no result file: {place}: {first['msg']} ({error.error_count()} problems); "
            "`python -m merc score ... --out FILE` writes one"
        ) from None
