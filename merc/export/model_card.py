"""The model card in the exported folder, with scores of dev only, without dates or paths."""

import math
from collections.abc import Sequence
from typing import Any

from merc.data.records.selection import LOWER_IS_BETTER, TITLES

TEMPLATE = """# merc student, seed {seed}

Emotion and sentiment of every utterance of a conversation, from its text, sound and picture; any may be missing.

- **Network**: {fusion} fusion, {context} context; {modalities}; {parameters:,} parameters, encoders not counted.
- **Labels**: {labels}.
- **Encoders**: {encoders}.
- **Trained on**: {corpora} (training split), distilled from a teacher that always had every modality.
- **Chosen by**: {chosen}; the test split was not looked at. Test figures: the repository's docs/model-card.md.

## On the dev split ({utterances} utterances), percent

{scores}

Dev also chose the checkpoint and fitted the calibration, so expect less on new data.

## Use

To study conversations, and to build on. Probabilities are calibrated on dev (`calibration.json`: a temperature, and
the threshold of label sets that hold the true label for 90 % of utterances like dev's).

## Limits

- It has learnt how the corpora above *label* expressed emotion; it does not read what a person feels.
- Other languages, cultures, cameras and microphones than the corpora's are untested.{warning}
- Not for decisions about people: hiring, schooling, policing, health, insurance.

## Files

`hashes.json` holds the SHA-256 of every file; a changed file is refused. `encoders.json` says which encoders it
needs, `extraction.json` how media are read.
"""
WARNINGS = {"sample": " The corpus `sample` is drawn by a program: a model of it knows no real person."}


def render_card(
    network: Any,
    needed: dict[str, dict[str, Any]],
    scores: dict[str, dict[str, float]],
    *,
    seed: int,
    chosen: str,
    corpora: Sequence[str],
    utterances: int,
) -> str:
    """Render the card of a network with its encoders and headline scores by task."""
    return TEMPLATE.format(
        seed=seed,
        fusion=network.config.fusion,
        context=network.config.context,
        modalities=", ".join(network.modalities),
        parameters=count_parameters(network),
        labels="; ".join(f"{task} {_described(network, task)}" for task in network.labels),
        encoders="; ".join(
            f"{modality}: {encoder['encoder']} ({encoder['source']})" for modality, encoder in needed.items()
        )
        or "none",
        corpora=", ".join(corpora),
        chosen=chosen,
        utterances=utterances,
        scores=_table(scores),
        warning="".join(WARNINGS.get(corpus, "") for corpus in corpora),
    )


def count_parameters(network: Any) -> int:
    """Number of trained parameters."""
    return sum(parameter.numel() for parameter in network.parameters())


def _described(network: Any, task: str) -> str:
    """What a task's answers are, and the classes that are never among them."""
    kind, names = network.kinds[task], ", ".join(network.labels[task])
    if kind.kind == "regression":
        return "from {:g} to {:g}".format(*kind.range)
    unseen = f" (never {', '.join(kind.unseen)}, which training did not show)" if kind.unseen else ""
    return ("any of " if kind.kind == "multilabel" else "") + names + unseen


def _table(scores: dict[str, dict[str, float]]) -> str:
    """A table for each kind of task."""
    by_titles: dict[tuple[str, ...], list[str]] = {}
    for task, measured in scores.items():
        cells = " | ".join(_cell(name, score) for name, score in measured.items())
        by_titles.setdefault(tuple(TITLES[name] for name in measured), []).append(f"| {task} | {cells} |")
    tables = [
        [f"| task | {' | '.join(titles)} |", "|---" * (1 + len(titles)) + "|", *rows]
        for titles, rows in by_titles.items()
    ]
    return "\n\n".join("\n".join(lines) for lines in tables)


def _cell(name: str, score: float) -> str:
    """In per cent, an error in the unit of its labels."""
    if math.isnan(score):
        return "-"
    return f"{score:.2f}" if name in LOWER_IS_BETTER else f"{100 * score:.1f}"
