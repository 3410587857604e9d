"""`python -m merc score`: any system's predictions by the protocol of a corpus, as a table and as a result file."""

import json
import sys
import tomllib
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from merc.data.records.manifest import SPLITS
from merc.runtime import output_paths
from merc.runtime.errors import CommandLine, UserError
from merc.studies.scoring import (
    dev_calibration,
    fitted_floor,
    prediction_files,
    protocols,
    result_file,
    scoring,
    selection,
)
from merc.studies.scoring.prediction_files import SystemPredictions
from merc.studies.scoring.reference import Reference, read_reference
from merc.studies.scoring.result_file import ResultFile
from merc.studies.scoring.result_table import result_table


def score(*words: str) -> None:
    """Score the files of a system, print the table, write the result file."""
    options = _parser().parse_args(words)
    protocol = protocols.protocol(options.corpus)
    for option, path in (("--out", options.out), ("--log", options.log)):
        if path:
            output_paths.check_file(option, path)
    ref = read_reference(protocol, options.split, options.labels or protocols.labels_of(protocol))
    system = prediction_files.read_system(options.files, ref, allow_missing=options.allow_missing)
    rivals = _rivals(system, ref, options)
    if rivals.dev is not None:
        system = dev_calibration.calibrate(system, rivals.dev)
    selected = selection.selected_on(system, rivals.dev, options.selected_on)
    tasks = scoring.score(system, ref, rivals)
    result = ResultFile.model_validate(
        scoring.stamp(system, ref)
        | {"merc": merc_version(), "selected_on": selected, "tasks": tasks, "notes": _notes(system, rivals, tasks)}
    )
    print(result_table(result))
    if options.out:
        result_file.write(options.out, result)
    if options.log:
        _log(options.log, result)


def _parser() -> CommandLine:
    parser = CommandLine(
        prog="python -m merc score",
        description="Score any system's predictions by a corpus's protocol (docs/score.md, docs/protocols).",
    )
    parser.add_argument("files", nargs="+", metavar="FILE[#MODEL]", help="CSV or parquet; several are one system")
    parser.add_argument("--corpus", required=True, help=", ".join(protocols.PROTOCOLS))
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--labels", metavar="NAME", help="label space (default: the protocol's)")
    parser.add_argument("--baseline", metavar="FILE[#MODEL]", help="another system's predictions, for paired tests")
    parser.add_argument("--dev", metavar="FILE[#MODEL]", help="this system's dev predictions, for calibration")
    parser.add_argument("--selected-on", choices=("dev", "test"), help="the split that chose epoch and settings")
    parser.add_argument("--allow-missing", action="store_true", help="score the utterances that are there")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append a line that says what was scored when")
    parser.add_argument("--out", type=Path, metavar="FILE", help="the result file to write (JSON)")
    return parser


def _rivals(system: SystemPredictions, ref: Reference, options) -> scoring.Rivals:
    baseline = dev = None
    if options.baseline:
        baseline = prediction_files.read_system(
            [options.baseline], ref, allow_missing=options.allow_missing, select=prediction_files.only_full
        )
    if options.dev:
        if ref.split == "dev":
            raise UserError("--dev: dev itself is scored; score test, or leave --dev out")
        dev = prediction_files.read_system(
            [options.dev],
            ref.of_split("dev"),
            allow_missing=options.allow_missing,
            select=prediction_files.full_and_epochs,
        )
    notes, fitted = [reason] if (reason := fitted_floor.missing_pack(ref)) else [], None
    if not notes:
        print("fitting the floor ...", file=sys.stderr)
        fitted = fitted_floor.fit(ref, sorted({key.seed for key in system.predictions.keys}))
    return scoring.Rivals(baseline, dev, fitted, notes)


def _notes(system: SystemPredictions, rivals: scoring.Rivals, tasks) -> list[str]:
    """What is absent, and why."""
    notes = list(rivals.notes)
    if system.missing:
        notes.append(
            f"{system.missing} labelled utterances have no prediction and were not scored (--allow-missing)"
        )
    for task, result in tasks.items():
        if result.kind == "labels":
            notes.append(f"{task}: no calibration: the file has labels, not probabilities")
        elif result.kind == "numbers" and not result.calibration:
            notes.append(f"{task}: no conformal intervals: these are fitted on --dev")
        elif result.calibration and not {"coverage", "nll_raw"} & set(result.calibration):
            notes.append(f"{task}: no temperature and no conformal sets: these are fitted on --dev")
    if all(len(result.conditions) <= 4 for result in tasks.values()):  # full and the three summaries
        notes.append("no missing-modality scores: the file has the condition full alone (python -m merc masks)")
    if not any(result.selection_gap for result in tasks.values()):
        notes.append("no selection gap: the file has no conditions epoch:<n>")
    if rivals.dev is None:
        notes.append("no dev scores: name the system's dev predictions as --dev")
    if rivals.baseline is None:
        notes.append("no paired test: name another system's predictions as --baseline")
    return notes


def merc_version() -> str:
    """Of this checkout, or of the installed package."""
    project = Path(__file__).resolve().parents[3] / "pyproject.toml"
    if project.is_file():
        return tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"]
    return metadata.version("merc")


def _log(path: Path, result: ResultFile) -> None:
    """Append one line of JSON; how often a test split was looked at is part of a result."""
    measure = result.protocol.measure
    line = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": result.system,
        **result.protocol.model_dump(),
        "predictions": result.predictions.digest,
        "selected_on": result.selected_on,
        **{task: each.scores[each.measure or measure].value for task, each in result.tasks.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
