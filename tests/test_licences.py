"""docs/licences.md: every direct package has a row there, unless its metadata state a permissive licence."""

import re
from importlib.metadata import metadata

from closure import ROOT

PERMISSIVE = re.compile(r"MIT|BSD|Apache|BSL-1\.0|Python Software Foundation|PSF")
LIMITED = re.compile(r"GPL|General Public|MPL|Mozilla|EPL|CC-BY|Proprietary|Other|research", re.IGNORECASE)


def required() -> list[str]:
    files = (ROOT / f"requirements{suffix}.txt" for suffix in ("", "-research", "-ray"))
    lines = [line for file in files for line in file.read_text(encoding="utf-8").splitlines()]
    return [line.partition("==")[0] for line in lines if line and not line.startswith("#")]


def stated(package: str) -> list[str]:
    """Licences in the metadata: the SPDX expression, or else the first line of the field, and the classifiers."""
    fields = metadata(package)
    if expression := fields.get("License-Expression"):
        return [expression]
    classifiers = [one for one in fields.get_all("Classifier") or [] if one.startswith("License ::")]
    return (fields.get("License") or "").strip().splitlines()[:1] + classifiers


def is_permissive(licences: list[str]) -> bool:
    """Whether all that is stated is permissive."""
    return bool(licences) and all(PERMISSIVE.search(one) and not LIMITED.search(one) for one in licences)


def without_row(page: str) -> set[str]:
    rows = re.findall(r"^\| ([\w., -]+?) \|", page, re.MULTILINE)
    named = {name for row in rows for name in row.split(", ")}
    return {name for name in required() if name not in named and not is_permissive(stated(name))}


def test_every_package_without_a_permissive_licence_has_a_row():
    page = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    assert without_row(page) == set()
    assert without_row(page.replace("| num2words |", "| |")) == {"num2words"}


def test_what_is_no_permissive_licence():
    assert {"num2words", "tqdm", "opensmile", "espeakng-loader"} <= without_row("")
    assert {"torch", "pyyaml", "transformers", "matplotlib"} & without_row("") == {"matplotlib"}
    assert not is_permissive([])
    assert not is_permissive(["MIT License", "LGPL"])
