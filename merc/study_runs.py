"""Running a study: every row by `dvc exp run` in a clone beside the project, whose branch and files stay untouched.

The clone shares the project's DVC cache, so that a stage which any run has finished with the same inputs is not run
again; and it stays until all rows are done, so that a killed training goes on with the seed it was at.
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

from merc import declared, params, presets, study_results, study_tables, study_verdicts
from merc.overlay import merged, overlaid
from merc.problem import Problem
from merc.results import read_json, write_json
from merc.studies import STUDIES, Row, Study

CODE = ("stages", "models", "merc", "presets", "dvc.yaml", ".dvc/config")
BROUGHT = ("data/features", "data/weights")  # by the user


def run(name: str, *chosen: str) -> None:
    """Run the rows of a study that are not done with this code, or those chosen; write each as it is done."""
    if name not in STUDIES:
        raise Problem(f"results: no study {name!r}; choose one of {', '.join(sorted(STUDIES))} (merc/studies.py)")
    study = STUDIES[name]
    if unknown := sorted(set(chosen) - {row.name for row in study.rows}):
        names = ", ".join(repr(row.name) for row in study.rows)
        raise Problem(f"results: {name} has no row {unknown[0]!r}; choose of {names}")
    _refuse_uncommitted()
    clone = _clone(name)
    for row in study.rows:
        if not chosen or row.name in chosen:
            _run_row(clone, name, study, row)
    shutil.rmtree(clone.parent)
    study_tables.write()


def _run_row(clone: Path, name: str, study: Study, row: Row) -> None:
    text = parameters(study, row)
    key, file = _key(study, text), study_tables.FOLDER / f"{name}.json"
    done = {one["name"]: one for one in read_json(file)["rows"]} if file.is_file() else {}
    if done.get(row.name, {}).get("key") == key:
        print(f"{name}: {row.name}: done with this code and these parameters")
        return
    print(f"{name}: {row.name} ...", flush=True)
    _reproduce(clone, study, row)
    done[row.name] = study_results.measured(clone, study, row, yaml.safe_load(text)) | {"key": key}
    if study.against:
        study_verdicts.keep(clone, key)
        study_verdicts.tell(study, done)
    rows = [done[one.name] for one in study.rows if one.name in done]
    about = {"study": name, "title": study.title, "preset": study.preset, "until": study.until}
    about |= {"published": list(study.published)}
    write_json(file, about | {"rows": rows})
    study_tables.write()


def parameters(study: Study, row: Row) -> str:
    """The row's params.yaml."""
    text, over = presets.text(study.preset), _nested(study.flags | row.flags)
    return overlaid(text, over) if over else text


def _nested(flags: dict[str, Any]) -> dict[str, Any]:
    over: dict[str, Any] = {}
    for key, value in flags.items():
        for part in reversed(key.split(".")):
            value = {part: value}
        over = merged(over, value)
    return over


def _key(study: Study, text: str) -> str:
    """Names the values and the code that a row's numbers follow from, and nothing of this machine."""
    values = {section: value for section, value in yaml.safe_load(text).items() if section != "compute"}
    inputs = json.dumps([values, study.until, _code(study.until, values["data"]["corpora"])], sort_keys=True)
    return hashlib.sha256(inputs.encode()).hexdigest()[:16]


def _code(until: str, corpora: list[str]) -> list[str]:
    """Digests of the files of code that the stages up to this one depend on; dvc.yaml names them in order."""
    stages = declared.stages(Path())
    names = list(stages)[: list(stages).index(until) + 1]
    files = {file for name in names for file in _files(stages[name], corpora)}
    return declared.digests(Path(), files)


def _files(stage: dict[str, Any], corpora: list[str]) -> set[Path]:
    """The files of code among a stage's deps, those of every item of its matrix."""
    matrix = stage.get("matrix", {})
    values = [items if isinstance(items, list) else corpora for items in matrix.values()]  # else ${data.corpora}
    items = [dict(zip(matrix, one, strict=True)) for one in product(*values)]
    return set().union(*(declared.code(Path(), stage, item) for item in items))


def _refuse_uncommitted() -> None:
    if changed := _git(Path(), "status", "--porcelain", "--", *CODE).splitlines():
        file = changed[0][3:]
        raise Problem(f"results: {file} is not committed; commit or stash it: a result names the code it is of")


def _clone(name: str) -> Path:
    """The project's last commit, with its data and its cache; made anew unless one is left of a killed run."""
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
    for folder in BROUGHT:
        _link(project / folder, clone / folder)
    _dvc(clone, "checkout", "--quiet", "--allow-missing")  # what the project has made already is not made again
    return clone


def _share_cache(project: Path, clone: Path) -> None:
    cache = (project / _dvc(project, "cache", "dir").strip()).resolve()
    (clone / ".dvc/config.local").write_text(f"[cache]\n    dir = {cache}\n", encoding="utf-8")


def _link_raw(own: Path, there: Path) -> None:
    """Links to the corpora that the user brought; those that the pipeline draws are drawn in the clone too."""
    made = {out if isinstance(out, str) else next(iter(out)) for stage in _stages() for out in stage["outs"]}
    for entry in sorted(own.iterdir()):
        if f"data/raw/{entry.name}" not in made:
            _link(entry, there / entry.name, whole=True)


def _link(own: Path, there: Path, whole: bool = False) -> None:
    """Links to the files below a folder: DVC sees what is behind a dependency that is a link, and behind a file in
    it, but not behind a folder in it.
    """
    if own.is_dir() and not whole:
        there.mkdir(parents=True, exist_ok=True)
        for entry in sorted(own.iterdir()):
            _link(entry, there / entry.name)
    elif not there.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(own.resolve(), target_is_directory=own.is_dir())


def _stages() -> list[dict[str, Any]]:
    return list(yaml.safe_load(Path("dvc.yaml").read_text(encoding="utf-8"))["stages"].values())


def _reproduce(clone: Path, study: Study, row: Row) -> None:
    """`dvc exp run` of the row; what an earlier row has left with the same inputs is not made again."""
    own = {"compute": params.read("compute", dict)}
    (clone / "params.yaml").write_text(overlaid(presets.text(study.preset), own), encoding="utf-8")
    flags = [word for one in (study.flags | row.flags).items() for word in presets.flag(*one).split(" ", 1)]
    _dvc(clone, "exp", "run", study.until, *flags)


def _git(folder: Path, *words: str) -> str:
    return _said(["git", *words], folder)


def _dvc(folder: Path, *words: str) -> str:
    return _said([sys.executable, "-m", "dvc", *words], folder)


def _said(command: list[str], folder: Path) -> str:
    """What a command printed; its own complaint where it failed."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # stages run by this python
    done = subprocess.run(command, cwd=folder, env=os.environ | {"PATH": path}, capture_output=True, text=True)
    if done.returncode:
        sys.stderr.write(done.stdout[-4000:] + done.stderr[-4000:])
        raise Problem(f"results: `{' '.join(command[-3:])[:200]}` failed in {folder}; what it said stands above")
    return done.stdout
