"""The model card in the exported folder, with scores of dev only, without dates or paths."""

from collections.abc import Sequence
from typing import Any

TEMPLATE = """# merc student, seed {seed}

Emotion and sentiment of every utterance of a conversation, from its text, sound and picture; any may be missing.

- **Network**: {fusion} fusion, {context} context; {modalities}; {parameters:,} parameters, encoders not counted.
- **Labels**: emotion {emotions}; sentiment {sentiments}.
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
        emotions=", ".join(network.labels["emotion"]),
        sentiments=", ".join(network.labels.get("sentiment", ())) or "none",
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


def _table(scores: dict[str, dict[str, float]]) -> str:
    rows = ["| task | accuracy | weighted F1 | macro F1 | UAR |", "|---|---|---|---|---|"]
    rows += [
        f"| {task} | " + " | ".join(f"{100 * score:.1f}" for score in task_scores.values()) + " |"
        for task, task_scores in scores.items()
    ]
    return "\n".join(rows)
