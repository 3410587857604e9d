"""`python -m merc run-model`: a model's predictions for a corpus, as a table for `merc score`; resumable.

The answers stand in FILE.part until the table is whole: a killed run goes on after them. An utterance that lacks
what the model reads gets the shares of train's classes.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from merc.data.records.manifest import MODALITIES, SPLITS
from merc.encoders import classifier
from merc.runtime.errors import CommandLine, UserError
from merc.studies.run_model import label_names, models, probe
from merc.studies.run_model.inputs import read_inputs
from merc.studies.run_model.label_names import LabelNames
from merc.studies.run_model.models import Answer, RunnableModel
from merc.studies.run_model.progress import Answers
from merc.studies.scoring import protocols
from merc.studies.scoring.prediction_table import SEPARATOR
from merc.studies.scoring.reference import Reference, read_reference

BATCH = 16  # utterances that are answered, and kept, at a time
ID_COLUMNS = ["corpus", "split", "dialogue", "utterance"]
DECIMALS = 6
BASELINES = ("majority", "random")


def command(*words: str) -> None:
    """Run the model on the utterances that have no answer yet, then write the table."""
    options = _parser().parse_args(words)
    _check(options)
    protocol = protocols.protocol(options.corpus)
    ref = read_reference(protocol, options.split, options.labels or protocols.labels_of(protocol))
    tables = _baseline(ref, options.baseline, options.seed) if options.baseline else _run(ref, options)
    _write(options.out, ref, tables)
    rows = len(ref.manifest)
    hint = f"python -m merc score {options.out} --corpus {options.corpus} --split {options.split}"
    print(f"merc: {options.out}: {rows} utterances; {hint}")


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m merc run-model",
        description="Predictions of a model, as a table that `merc score` reads (docs/score.md).",
    )
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--pipeline", metavar="MODEL", help="a Hugging Face classifier: a folder or an id of the hub")
    what.add_argument("--function", metavar="MODULE:NAME", help="(text, wav, frames) -> probabilities")
    what.add_argument(
        "--encoder",
        metavar="NAME",
        help="features for merc's linear probe: MODULE:OBJECT with encode(texts), or a merc encoder: audio/prosody",
    )
    what.add_argument("--baseline", choices=BASELINES)
    add("--corpus", required=True, help=", ".join(protocols.PROTOCOLS))
    add("--out", type=Path, required=True, metavar="FILE.csv", help="the table; FILE.csv.part until it is whole")
    add("--split", choices=SPLITS, default="test")
    add("--labels", metavar="NAME", help="label space (default: the protocol's)")
    add("--task", help="the classification that --pipeline or --function answers (default: the first)")
    add("--kind", choices=classifier.KINDS, default="text", help="what --pipeline reads")
    add("--needs", nargs="+", choices=MODALITIES, default=list(MODALITIES), help="what --function is given")
    add(
        "--map",
        nargs="+",
        action="extend",
        default=[],
        metavar="MODEL=OURS",
        help="a label; MODEL= leaves it aside",
    )
    add("--layer", type=int, help="hidden layer of a merc encoder")
    add("--seed", type=int, default=1, help="of --baseline random")
    return parser


def _check(options) -> None:
    if options.out.suffix != ".csv":
        raise UserError(f"--out {options.out}: name a .csv file")
    if options.out.exists():
        raise UserError(f"--out {options.out}: is there already; remove it, or name another")
    if not options.out.parent.is_dir():
        raise UserError(f"--out {options.out}: there is no folder {options.out.parent}")


def _run(ref: Reference, options) -> dict[str, np.ndarray]:
    """{task: (N, C)} of a pipeline, a function, or an encoder with a probe."""
    task = _classification(ref, options.task)
    classes = ref.space.tasks[task].classes
    names = LabelNames(classes, label_names.read_map(options.map, classes))
    if options.pipeline:
        model = models.pipeline(options.pipeline, options.kind, names)
    elif options.function:
        model = models.function(options.function, names, frozenset(options.needs))
    else:
        model = models.encoder(options.encoder, options.layer)
    settings = {name: value for name, value in vars(options).items() if name not in ("out", "seed")}
    kept = Answers(options.out, {**settings, "utterances": len(ref.manifest)})
    splits = list(dict.fromkeys(("train", "dev", ref.split))) if model.modality else [ref.split]
    found = {split: _answers(ref, split, model, kept) for split in splits}
    if model.modality:
        return probe.predict(ref, model.modality, found)
    missing = sum(answer is None for answer in found[ref.split])
    if missing:
        print(f"merc: {missing} utterances lack what the model reads: train's shares stand there", file=sys.stderr)
    shares = train_shares(ref, task).tolist()
    return {task: np.array([shares if one is None else one for one in found[ref.split]])}


def _classifications(ref: Reference) -> list[str]:
    return [name for name, task in ref.space.tasks.items() if task.kind == "classification"]


def _classification(ref: Reference, name: str | None) -> str:
    """The task of this name, or the first that has one class of several as its answer."""
    known = _classifications(ref)
    if (chosen := name or next(iter(known), "")) not in known:
        which = ", ".join(known) or "it has none"
        raise UserError(f"--task {chosen or '?'}: no classification of the label space {ref.space.name}; {which}")
    return chosen


def _answers(ref: Reference, split: str, model: RunnableModel, kept: Answers) -> list[Answer]:
    """The answers for a split, those of an earlier run included."""
    manifest = ref.manifests[split]
    first = next((row for row in range(len(manifest)) if (split, row) not in kept), len(manifest))
    with tqdm(total=len(manifest), initial=first, desc=split, unit="", file=sys.stderr, mininterval=1.0) as bar:
        for begin in range(first, len(manifest), BATCH):
            end = min(begin + BATCH, len(manifest))
            inputs = read_inputs(ref, split, begin, end, model.needed)
            kept.add(split, begin, model.answer(inputs, manifest["utterance"].iloc[begin:end].tolist()))
            bar.update(end - begin)
    return kept.of(split, len(manifest))


def _baseline(ref: Reference, name: str, seed: int) -> dict[str, np.ndarray]:
    """(N, C) of each classification with labels: train's class shares, or probabilities drawn uniformly."""
    rows, generator, tables = len(ref.manifest), np.random.default_rng(seed), {}
    for task in _classifications(ref):
        if not (ref.space.targets(ref.manifest, task) >= 0).any():
            continue
        shares = train_shares(ref, task)
        drawn = generator.dirichlet(np.ones(len(shares)), rows)
        tables[task] = drawn if name == "random" else np.tile(shares, (rows, 1))
    return tables


def train_shares(ref: Reference, task: str) -> np.ndarray:
    """(C,) share of each class among train's labels; even where train has none."""
    targets = ref.space.targets(ref.manifests["train"], task)
    counts = np.bincount(targets[targets >= 0], minlength=len(ref.space.tasks[task].classes)).astype(np.float64)
    return counts / counts.sum() if counts.sum() else np.full(len(counts), 1 / len(counts))


def _write(path: Path, ref: Reference, tables: dict[str, np.ndarray]) -> None:
    """Write the table whole, then remove what is no longer needed."""
    parts = [ref.manifest[ID_COLUMNS].reset_index(drop=True)]
    for task, values in tables.items():
        classes = ref.space.tasks[task].classes
        columns: Sequence[str] = [f"{task}{SEPARATOR}{label}" for label in classes] or [task]
        parts.append(pd.DataFrame(values.round(DECIMALS), columns=list(columns)))
    temporary = path.with_name(f".{path.name}.writing")
    pd.concat(parts, axis=1).to_csv(temporary, index=False)
    temporary.replace(path)
    path.with_name(path.name + ".part").unlink(missing_ok=True)
