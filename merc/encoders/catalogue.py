"""docs/encoders.md from the tables, so that it never says anything else: python -m merc.encoders.catalogue."""

from pathlib import Path

from merc import encoders

PAGE = Path("docs/encoders.md")
MODALITIES = ("text", "audio", "vision")
HEAD = """# Encoders

Generated from `merc/encoders/{text,audio,vision}.py` by `python -m merc.encoders.catalogue`; do not edit.

Set `encode.<modality>.encoder` to a name below, to the name of a folder under `data/weights`, or to a model of the
Hugging Face hub as `owner/name@revision`, the revision being a commit, so that it stays the same. Text takes any
`AutoModel` with a fast tokenizer, audio any that hears samples (wav2vec2, hubert, wavlm ...), vision any image or
video `AutoModel`. A folder `data/weights/<name>` is always preferred to the hub; see `data/weights/README.md`.
`encode.<modality>.by_corpus.<corpus>` names another encoder for one corpus.
"""


def page() -> str:
    """The whole page."""
    return "\n".join([HEAD, *(_section(modality) for modality in MODALITIES)])


def _section(modality: str) -> str:
    cards = encoders.module(modality).ENCODERS.items()
    lines = [f"## {modality}", "", "| name | width | source and revision | licence | |", "|---|---|---|---|---|"]
    rows = [
        f"| {name} | {card.width or ''} | {card.source} | {card.licence} | {card.about} |" for name, card in cards
    ]
    return "\n".join([*lines, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
