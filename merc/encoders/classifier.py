"""A Hugging Face classifier of texts or sounds, which no stage uses: `python -m merc run-model --pipeline`."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from merc.data.records.encoder_inputs import AudioInput
from merc.runtime.errors import UserError

KINDS = {"text": "text-classification", "audio": "audio-classification"}


class Classifier(NamedTuple):
    """A loaded pipeline."""

    call: Any
    labels: tuple[str, ...]

    def texts(self, texts: Sequence[str]) -> list[dict[str, float]]:
        """The probability of every label for each text, which is cut to what the model reads."""
        return _by_label(self.call(list(texts), truncation=True)) if texts else []

    def sounds(self, sounds: Sequence[AudioInput]) -> list[dict[str, float]]:
        """The probability of every label for each sound."""
        raw = [{"raw": sound.samples, "sampling_rate": sound.rate} for sound in sounds]
        return _by_label(self.call(raw)) if raw else []


def load_classifier(name: str, kind: str) -> Classifier:
    """Load a folder or an id of the hub; no code of the hub is run."""
    import transformers

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    load: Any = transformers.pipeline  # its overloads name every task
    try:
        call = load(KINDS[kind], model=name, top_k=None)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"--pipeline {name}: {' '.join(str(error).split())[:300]}") from None
    return Classifier(call, tuple(call.model.config.id2label.values()))


def _by_label(found: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, float]]:
    return [{entry["label"]: entry["score"] for entry in one} for one in found]
