"""How the result that lies here compares with the one of the last commit: the line that `make repro` ends with.

On the processors and packages of the commit every number comes out again; on others the third digit may differ, and
the committed interval says what is no more than that.
"""

import json
import subprocess
from pathlib import Path

import yaml

from merc import params
from merc.results import read_json

SCORES = Path("metrics/evaluate.json")
CODE = ("merc", "models", "stages", "dvc.yaml", "requirements.txt", "constraints.txt")
NEUTRAL = "compute"  # the section of params.yaml that no result depends on


def comparison() -> str:
    """One line, as short as the rest of the screen: 71 characters."""
    text = committed(SCORES)
    if text is None:
        return "nothing to compare with: no Git here, or no result in its last commit"
    if not _changed("metrics"):
        return "identical to the result of the last commit"
    own, theirs = (scores["student"]["emotion"] for scores in (read_json(SCORES), json.loads(text)))
    if None in (own["macro_f1"], *(theirs[name] for name in ("macro_f1", "macro_f1_low", "macro_f1_high"))):
        return "nothing to compare with: a macro F1 is not defined"
    score, other = (f"{one['macro_f1']:.3f}" for one in (own, theirs))
    if _other_parameters():
        return f"emotion macro F1 {score}; the committed {other} is of another params.yaml"
    if _changed(*CODE):
        return f"emotion macro F1 {score}; the committed {other} is of other code"
    low, high = theirs["macro_f1_low"], theirs["macro_f1_high"]
    where = "within" if low <= own["macro_f1"] <= high else "outside"
    return f"emotion macro F1 {score}, {where} the committed {other} [{low:.3f}, {high:.3f}]"


def committed(path: Path) -> str | None:
    """A file as the last commit has it; None without Git or without the file."""
    return _git("show", f"HEAD:./{path.as_posix()}")


def _other_parameters() -> bool:
    """Whether params.yaml says anything else than the committed one, apart from what no result depends on."""
    texts = params.FILE.read_text(encoding="utf-8"), committed(params.FILE)
    here, there = (yaml.safe_load(text or "") or {} for text in texts)
    return any(here.get(key) != there.get(key) for key in {*here, *there} - {NEUTRAL})


def _changed(*paths: str) -> list[str]:
    """The files below these that differ from the last commit's."""
    return (_git("diff", "--name-only", "HEAD", "--", *paths) or "").splitlines()


def _git(*words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], capture_output=True, text=True, encoding="utf-8")
    except OSError:  # Git is not installed
        return None
    return None if done.returncode else done.stdout
