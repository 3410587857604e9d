"""Builds the wheel, whose only package at the top is `merc`: the repository's `models/` is `merc.models` in it.

Were it installed as `models`, any other package of that name would replace it, or be replaced. All else is in
pyproject.toml.
"""

import re
import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

IMPORT = re.compile(r"^(\s*from )(models[ .])", re.MULTILINE)  # the only form in use (tests/test_package.py)


class BuildMerc(build_py):
    """Puts `models` below `merc`, and writes `from merc.models` where the repository says `from models`."""

    def run(self) -> None:
        folder = Path(self.build_lib)
        shutil.rmtree(folder, ignore_errors=True)  # or files that were deleted since the last build come along
        super().run()
        if self.editable_mode:  # `pip install -e .`: the repository itself
            return
        shutil.copytree("models", folder / "merc/models", ignore=shutil.ignore_patterns("__pycache__"))
        for path in folder.rglob("*.py"):
            path.write_bytes(IMPORT.sub(r"\1merc.\2", path.read_text(encoding="utf-8")).encode())


setup(cmdclass={"build_py": BuildMerc})
