"""python -m merc explain CLIP: the exported student on the utterances of a recording."""

from pathlib import Path

import pandas as pd

from merc.explanation import one_utterance
from merc.explanation.gallery.page import GalleryEntry
from merc.explanation.methods import token_shap
from merc.runtime import collector
from merc.runtime.errors import UserError
from merc.serve.predictor.dialogue import Dialogue
from merc.serve.predictor.explanations import PredictionExplainer
from merc.serve.predictor.predictor import Predictor

MAX_UTTERANCES = 8  # utterances that are explained unless one is named: each takes seconds


def explain_recording(
    path: Path,
    text: str | None,
    utterance: str | None,
    cut: bool,
    model: Path,
    trust: str | None,
    *,
    keep_atypical: bool = False,
) -> tuple[str, list[GalleryEntry]]:
    """Name of the recording's page, and the explanation of each utterance or of the named one."""
    with collector.paused():  # imports transformers
        predictor = Predictor.load(model, engine="torch", trust=trust, keep_atypical=keep_atypical)
    dialogue = predictor.read(path, texts=text, cut=True if cut else None)
    reasons = PredictionExplainer(predictor)
    indices = _chosen_indices(dialogue, utterance, path)
    return path.stem or path.resolve().name, [_shown(reasons, dialogue, index) for index in indices]


def _shown(reasons: PredictionExplainer, dialogue: Dialogue, index: int) -> GalleryEntry:
    arguments = reasons.arguments_for(dialogue, index)
    first = index - arguments.row
    window = dialogue.utterances[first : first + len(arguments.batch["present"])]
    rows = pd.DataFrame(
        {
            "corpus": [Path(utterance.source).name if utterance.source else "" for utterance in window],
            "dialogue": [utterance.dialogue for utterance in window],
            "utterance": [utterance.name for utterance in window],
            "speaker": [utterance.speaker for utterance in window],
            "text": [utterance.text for utterance in window],
            "emotion": None,  # a new recording has no labels
        }
    )
    explanation = one_utterance.explain(*arguments) | token_shap.explain(*arguments)
    explanation["typicality"] = dialogue.utterances[index].typicality
    return GalleryEntry(window[arguments.row].name, rows, arguments.row, arguments.raw, explanation)


def _chosen_indices(dialogue: Dialogue, utterance: str | None, path: Path) -> list[int]:
    names = [other.name for other in dialogue]
    if utterance is None and len(names) <= MAX_UTTERANCES:
        return list(range(len(names)))
    some = ", ".join(names[:MAX_UTTERANCES]) + (" ..." if len(names) > MAX_UTTERANCES else "")
    if utterance is None:
        raise UserError(f"{path}: has {len(names)} utterances; choose one with --utterance: {some}")
    if utterance not in names:
        raise UserError(f"{path}: has no utterance {utterance!r}; --utterance is one of {some}")
    return [names.index(utterance)]
