"""Compare the scores in the working tree with those of the last commit: the last line that `make repro` prints.

With the processor and the packages of the commit all numbers are reproduced exactly. On others they differ; the
committed 95 % interval shows whether the difference is within chance.
"""

import json
import subprocess
from pathlib import Path

import yaml

from merc.data.records.selection import MAIN_METRIC, TITLES
from merc.runtime import params
from merc.runtime.results import read_json

SCORES = Path("metrics/evaluate.json")
CODE = ("merc", "models", "stages", "dvc.yaml", "requirements.txt", "requirements.lock")
MACHINE_SECTION = "compute"  # the section of params.yaml that no result depends on


def compare_with_last_commit() -> str:
    """One line of at most 71 characters."""
    committed_scores = committed_text(SCORES)
    if committed_scores is None:
        return "nothing to compare with: no Git here, or no result in its last commit"
    if not _changed_files("metrics"):
        return "identical to the result of the last commit"
    new, old = (scores["student"] for scores in (read_json(SCORES), json.loads(committed_scores)))
    task = next(iter(new))
    name = next(each for each in MAIN_METRIC.values() if each in new[task])
    if name not in old.get(task, {}):
        return f"nothing to compare with: the committed result has no {TITLES[name]} of {task}"
    new, old, title = new[task], old[task], f"{task} {TITLES[name]}"
    if None in (new[name], *(old[each] for each in (name, f"{name}_low", f"{name}_high"))):
        return f"nothing to compare with: a {TITLES[name]} is not defined"
    score, committed_score = (f"{scores[name]:.3f}" for scores in (new, old))
    if _has_other_parameters():
        return f"{title} {score}; the committed {committed_score} is of another params.yaml"
    if _changed_files(*CODE):
        return f"{title} {score}; the committed {committed_score} is of other code"
    low, high = old[f"{name}_low"], old[f"{name}_high"]
    position = "within" if low <= new[name] <= high else "outside"
    return f"{title} {score}, {position} the committed {committed_score} [{low:.3f}, {high:.3f}]"


def committed_text(path: Path) -> str | None:
    """Text of a file in the last commit; None without Git or if the commit has no such file."""
    return _git("show", f"HEAD:./{path.as_posix()}")


def _has_other_parameters() -> bool:
    """Whether params.yaml differs from the committed one in a section that results depend on."""
    texts = params.FILE.read_text(encoding="utf-8"), committed_text(params.FILE)
    new, old = (yaml.safe_load(text or "") or {} for text in texts)
    return any(new.get(section) != old.get(section) for section in {*new, *old} - {MACHINE_SECTION})


def _changed_files(*paths: str) -> list[str]:
    """The files below these paths that differ from the last commit."""
    return (_git("diff", "--name-only", "HEAD", "--", *paths) or "").splitlines()


def _git(*arguments: str) -> str | None:
    """Output of a Git command; None if Git is not installed or the command fails."""
    try:
        process = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8")
    except OSError:
        return None
    return None if process.returncode else process.stdout
