"""Runs the rows of a study by `dvc exp run` in a temporary clone: the project's branch and files stay untouched.

The clone shares the project's DVC cache: a stage that any run has completed with the same inputs is not repeated.
The clone is kept until all rows are complete: a training that was killed resumes with the seed it had reached.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import yaml

from merc.runtime import params, stage_code
from merc.runtime.errors import UserError
from merc.runtime.results import read_json, write_json
from merc.studies import measure, presets, results_page
from merc.studies.definitions import STUDIES, Study, StudyRow
from merc.studies.yaml_overlay import merged, overlaid

CODE = ("stages", "models", "merc", "presets", "dvc.yaml", ".dvc/config")
USER_DATA = ("data/labels", "data/features", "data/weights")  # untracked data that the user provides


def run_study(name: str, *chosen: str) -> None:
    """Run the chosen rows of a study (default: all) that this code has not completed; write each when complete."""
    if name not in STUDIES:
        raise UserError(
            f"results: no study {name!r}; choose one of {', '.join(sorted(STUDIES))} (merc/studies/definitions.py)"
        )
    study = STUDIES[name]
    if unknown := sorted(set(chosen) - {row.name for row in study.rows}):
        names = ", ".join(repr(row.name) for row in study.rows)
        raise UserError(f"results: {name} has no row {unknown[0]!r}; choose of {names}")
    _refuse_uncommitted()
    clone = _clone(name)
    for row in study.rows:
        if not chosen or row.name in chosen:
            _run_row(clone, name, study, row)
    shutil.rmtree(clone.parent)
    results_page.write_results_page()


def _run_row(clone: Path, name: str, study: Study, row: StudyRow) -> None:
    text = row_parameters(study, row)
    key, file = _key(study, text), results_page.FOLDER / f"{name}.json"
    results = {result["name"]: result for result in read_json(file)["rows"]} if file.is_file() else {}
    if results.get(row.name, {}).get("key") == key:
        print(f"{name}: {row.name}: done with this code and these parameters")
        return
    print(f"{name}: {row.name} ...", flush=True)
    _reproduce(clone, study, row)
    commit = _git(clone, "rev-parse", "--short=7", "HEAD").strip()
    measured = measure.measure_row(clone, study, row, yaml.safe_load(text))
    results[row.name] = measured | {"commit": commit, "key": key}
    if study.against:
        measure.keep_predictions(clone, key)
        measure.add_comparisons(study, results)
    header = {"study": name, "title": study.title, "preset": study.preset, "until": study.until}
    header |= {"published": list(study.published)}
    write_json(file, header | {"rows": [results[other.name] for other in study.rows if other.name in results]})
    results_page.write_results_page()


def row_parameters(study: Study, row: StudyRow) -> str:
    """Text of the row's params.yaml."""
    text, over = presets.preset_text(study.preset), _nested(study.flags | row.flags)
    return overlaid(text, over) if over else text


def _nested(flags: dict[str, Any]) -> dict[str, Any]:
    """{"a.b": 1} -> {"a": {"b": 1}}."""
    over: dict[str, Any] = {}
    for key, value in flags.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        over = merged(over, value)
    return over


def _key(study: Study, text: str) -> str:
    """Hash of the parameters and the code that determine a row's numbers, independent of the machine."""
    values = {section: value for section, value in yaml.safe_load(text).items() if section != "compute"}
    inputs = json.dumps([values, study.until, _code(study.until, values["data"]["corpora"])], sort_keys=True)
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def _code(until: str, corpora: list[str]) -> list[str]:
    """Digests of the code that the stages up to this one depend on; dvc.yaml lists the stages in order."""
    stages = stage_code.read_stages(Path())
    names = list(stages)[: list(stages).index(until) + 1]
    files = {file for name in names for file in _files(stages[name], corpora)}
    return stage_code.file_digests(Path(), files)


def _files(stage: dict[str, Any], corpora: list[str]) -> set[Path]:
    """The files of code among a stage's deps, for every item of its matrix."""
    matrix = stage.get("matrix", {})
    # items of a matrix are a list or "${data.corpora}"
    values = [items if isinstance(items, list) else corpora for items in matrix.values()]
    items = [dict(zip(matrix, combination, strict=True)) for combination in product(*values)]
    return set().union(*(stage_code.code_files(Path(), stage, item) for item in items))


def _refuse_uncommitted() -> None:
    if changed := _git(Path(), "status", "--porcelain", "--", *CODE).splitlines():
        file = changed[0][3:]
        raise UserError(f"results: {file} is not committed; commit or stash it: a result names the code it is of")


def _clone(name: str) -> Path:
    """Clone of the project's last commit with its data and cache; what a killed run left is updated and reused."""
    project = Path.cwd()
    owner = hashlib.sha256(str(project).encode()).hexdigest()[:12]
    clone = Path(tempfile.gettempdir()) / f"merc-results-{owner}" / name / "merc"
    if not clone.is_dir():
        clone.parent.mkdir(parents=True, exist_ok=True)
        _git(project, "clone", "--quiet", "--no-tags", str(project), str(clone))
    head = _git(project, "rev-parse", "HEAD").strip()
    if head != _git(clone, "rev-parse", "HEAD").strip():
        _git(clone, "fetch", "--quiet", "origin", head)
        _git(clone, "reset", "--quiet", "--hard", "FETCH_HEAD")
    _share_cache(project, clone)
    _link_raw(project / "data/raw", clone / "data/raw")
    for folder in USER_DATA:
        _link(project / folder, clone / folder)
    # outputs that the project's cache already has; by force, as a killed run leaves outputs that were never saved
    _dvc(clone, "checkout", "--quiet", "--allow-missing", "--force")
    return clone


def _share_cache(project: Path, clone: Path) -> None:
    cache = (project / _dvc(project, "cache", "dir").strip()).resolve()
    (clone / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")


def _link_raw(source: Path, target: Path) -> None:
    """Link to the corpora that the user provides; those that the pipeline generates are outputs of the clone."""
    outs = (out for stage in stage_code.read_stages(Path()).values() for out in stage["outs"])
    generated = {out if isinstance(out, str) else next(iter(out)) for out in outs}
    for entry in sorted(source.iterdir()):
        if f"data/raw/{entry.name}" not in generated:
            _link(entry, target / entry.name, as_folder=True)


def _link(source: Path, target: Path, as_folder: bool = False) -> None:
    """Link to a folder, or to each file below it: DVC follows links that are a dependency or a file in one, but
    not links to folders inside a dependency.
    """
    if source.is_dir() and not as_folder:
        target.mkdir(parents=True, exist_ok=True)
        for entry in sorted(source.iterdir()):
            _link(entry, target / entry.name)
    elif not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())


def _reproduce(clone: Path, study: Study, row: StudyRow) -> None:
    """`dvc exp run` of the row; stages that an earlier row completed with the same inputs are not repeated."""
    compute = {"compute": params.read("compute", dict)}
    (clone / "params.yaml").write_text(overlaid(presets.preset_text(study.preset), compute), encoding="utf-8")
    flags = [word for item in (study.flags | row.flags).items() for word in presets.hydra_flag(*item).split(" ", 1)]
    _dvc(clone, "exp", "run", study.until, *flags)


def _git(folder: Path, *arguments: str) -> str:
    return _output_of(["git", *arguments], folder)


def _dvc(folder: Path, *arguments: str) -> str:
    return _output_of([sys.executable, "-m", "dvc", *arguments], folder)


def _output_of(command: list[str], folder: Path) -> str:
    """Standard output of a command; if it fails, the end of its output goes to stderr."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # stages run `python`: this one
    process = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    if process.returncode:
        sys.stderr.write(process.stdout[-4000:] + process.stderr[-4000:])
        raise UserError(f"results: `{' '.join(command[-3:])[:200]}` failed in {folder}; what it said stands above")
    return process.stdout
