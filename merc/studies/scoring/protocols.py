"""Protocols: how the predictions for a corpus are scored, each with a version and a page in docs/protocols/.

A protocol's version changes when the same predictions would get other numbers. The conditions and the bootstrap are
those of section `evaluate` of presets/sample.yaml (a test compares them).
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from merc.data.records.manifest import MODALITIES
from merc.evaluation import missing_modalities
from merc.runtime import params
from merc.runtime.errors import UserError

MASK_SEED = 1
RATES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7)
UNEVEN = tuple({each: 0.7 if each == most else 0.1 for each in MODALITIES} for most in MODALITIES)
REPEATS = 10
ROUNDS, BOOTSTRAP_SEED = 1000, 1
CONDITIONS = missing_modalities.condition_names(MODALITIES, RATES, UNEVEN, REPEATS)

_NAME = rf"(?:{'|'.join(MODALITIES)})"
_RATE = r"(?:0(?:\.\d+)?|1(?:\.0)?)"
# what may be scored besides CONDITIONS, too: other subsets and rates, damages, epochs (docs/score.md)
_CONDITION = re.compile(
    rf"full|only:{_NAME}(?:\+{_NAME})*|rate:(?:{_RATE}|{_NAME}={_RATE}(?:\+{_NAME}={_RATE})*)/\d+"
    rf"|(?:typical:)?(?:noise|blank|shuffle|drop):{_NAME}(?:/\S+)?|typical|epoch:\d+"
)


@dataclass(frozen=True)
class Protocol:
    """How predictions for one corpus are scored."""

    corpus: str
    version: str
    labels: str  # the label space unless the user names another one; "" = that of params.yaml
    measure: str  # the score by which systems are ordered
    options: Mapping[str, Any] = field(default_factory=dict)  # of the reader, where params.yaml has none


PROTOCOLS = {
    protocol.corpus: protocol
    for protocol in (
        Protocol("sample", "1.0", "meld", "macro_f1"),
        Protocol("meld", "1.0", "meld", "weighted_f1", {"twins": "plain", "media": "none"}),
        Protocol("iemocap", "1.0", "iemocap6", "weighted_f1", {"test_session": 5, "dev_session": 4}),
        Protocol(
            "ravdess",
            "1.0",
            "ravdess",
            "uar",
            {"channel": "speech", "fold": 1, "test_actors": [], "dev_actors": []},
        ),
        Protocol("mosi", "1.0", "mosi", "mae"),
        Protocol("mosei", "1.0", "mosei", "mae"),
        Protocol("cremad", "1.0", "cremad", "uar", {"fold": 1}),
        Protocol("emodb", "1.0", "emodb", "uar", {"fold": 1}),
        Protocol("emorynlp", "1.0", "emorynlp", "weighted_f1"),
        Protocol("folder", "1.1", "", "macro_f1"),
    )
}


def protocol(corpus: str) -> Protocol:
    """The protocol of a corpus."""
    if corpus not in PROTOCOLS:
        raise UserError(
            f"--corpus {corpus}: there is no such protocol{suggestion(corpus, PROTOCOLS)}; choose one of "
            f"{', '.join(PROTOCOLS)}"
        )
    return PROTOCOLS[corpus]


def labels_of(protocol: Protocol) -> str:
    """The name of its label space."""
    return protocol.labels or params.read("data.labels", str)


def check_conditions(place: str, names: Iterable[str]) -> None:
    """Raise unless every condition has a name that scoring understands."""
    for name in names:
        if not _CONDITION.fullmatch(name):
            raise UserError(
                f"{place}: condition {name!r} is unknown{suggestion(name, CONDITIONS)}; `python -m merc masks` "
                "lists them, docs/score.md has the others"
            )


def in_order(conditions: Iterable[str]) -> list[str]:
    """The conditions in the protocol's order, then the others by name."""
    place = {name: number for number, name in enumerate(CONDITIONS)}
    return sorted(conditions, key=lambda name: (place.get(name, len(place)), name))


def suggestion(name: str, names: Iterable[str], known: Mapping[str, str] | None = None) -> str:
    """`; did you mean ...?`, or nothing if no name is near; `known` maps words to the names for the same thing."""
    lowered = name.strip().lower()
    close: Sequence[str] = difflib.get_close_matches(lowered, list(names), n=1)
    near = (known or {}).get(lowered) or next(iter(close), None)
    return f"; did you mean {near}?" if near else ""
