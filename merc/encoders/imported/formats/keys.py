"""Canonical names of splits, dialogues and utterances, from the many forms in feature files."""

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

# words that name a split, alone or between _ - . and blanks
SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "testing": "test",
}
TWIN_PREFIX = "final_videos_test"  # name prefix of MELD's second cut of a clip
MEDIA_SUFFIX = re.compile(r"\.(wav|mp3|mp4|m4a|flac|ogg|opus|avi|mov|mkv|webm|jpe?g|png|txt|npy)$", re.IGNORECASE)
UTTERANCE = re.compile(rf"({TWIN_PREFIX})?_?dia(\d{{1,9}})[_-]?utt(\d{{1,9}})", re.IGNORECASE)
PAIR = re.compile(r"(\d{1,9})_(\d{1,9})")
DIALOGUE = re.compile(r"(?:dia(?:logue)?_?)?(\d{1,9})", re.IGNORECASE)
NUMBER = re.compile(r"(?:utt(?:erance)?_?)?(\d{1,9})", re.IGNORECASE)  # of an utterance, below its dialogue
WORD_SEPARATORS = re.compile(r"[_\-. ]+")


def canonical(name: Any) -> str:
    """`dia<D>_utt<U>` for MELD's names, `0_0`, (0, 0) and "(0, 0)"; `dia<D>` for a number; else without suffix."""
    text = MEDIA_SUFFIX.sub("", _plain(name).strip())
    if match := UTTERANCE.fullmatch(text):
        return f"{(match[1] or '').lower()}dia{int(match[2])}_utt{int(match[3])}"
    if match := PAIR.fullmatch(text):
        return f"dia{int(match[1])}_utt{int(match[2])}"
    if match := DIALOGUE.fullmatch(text):
        return f"dia{int(match[1])}"
    return text


def first_twice(names: Iterable[Any]) -> Any:
    """The first name that stood before, None if all are distinct."""
    seen: set[Any] = set()
    return next((name for name in names if name in seen or seen.add(name)), None)


def is_utterance(name: str) -> bool:
    """Whether a canonical name is a MELD name of an utterance."""
    return UTTERANCE.fullmatch(name) is not None


def is_dialogue(name: str) -> bool:
    """Whether a canonical name is a MELD name of a dialogue."""
    return re.fullmatch(r"dia\d+", name) is not None


def path_components(key: Any) -> list[str]:
    """Path components of a key: a/b has two, (split, dialogue, utterance) as well."""
    if isinstance(key, (tuple, list)) and len(key) == 3 and str(key[0]).lower() in SPLIT_WORDS:
        return [str(key[0]), canonical(tuple(key[1:]))]
    return [part for part in _plain(key).split("/") if part.strip()] or [""]


def without_split(part: str) -> tuple[str | None, str]:
    """Split named in a path component, and the component without it: train_features -> train, features."""
    if is_utterance(canonical(part)):
        return None, part
    words = [word for word in WORD_SEPARATORS.split(part) if word]
    split = next((SPLIT_WORDS[word.lower()] for word in reversed(words) if word.lower() in SPLIT_WORDS), None)
    return split, "_".join(word for word in words if word.lower() not in SPLIT_WORDS) if split else part


def _plain(name: Any) -> str:
    """Name as a string; the members of a tuple, or of its string form, are joined by _."""
    if isinstance(name, bytes):
        return name.decode("utf-8", errors="replace")
    if isinstance(name, (tuple, list)):
        return "_".join(str(member).strip() for member in name)
    text = str(name).strip()
    if re.fullmatch(r"[(\[].*[)\]]", text, re.DOTALL):
        return "_".join(member.strip().strip("'\"") for member in text[1:-1].split(",") if member.strip())
    return text


def split_part_and_name(path: tuple[str | int, ...]) -> tuple[str | None, str, str]:
    """Split, part and name in a path of folders, keys and list indices."""
    split, components = None, []
    for component in path:
        component_split, rest = without_split(component) if isinstance(component, str) else (None, component)
        split, components = component_split or split, components + ([rest] if rest != "" else [])
    components = _joined_utterance(components)
    names = [canonical(component) if isinstance(component, str) else None for component in components]
    index = _name_index(names)
    if index is None:
        return split, "/".join(map(str, components)), ""
    after = components[index + 1 :]
    part = [*components[:index], *(component for component in after if isinstance(component, str))]
    name = [str(names[index]), *(str(component) for component in after if isinstance(component, int))]
    return split, "/".join(map(str, part)), "/".join(name)


def _joined_utterance(components: list[str | int]) -> list[str | int]:
    """Join an utterance below its dialogue, dia0/utt1 or 0/1, to one component."""
    for index, (component, below) in enumerate(pairwise(components)):
        if (
            isinstance(component, str)
            and isinstance(below, str)
            and is_dialogue(canonical(component))
            and (number := NUMBER.fullmatch(MEDIA_SUFFIX.sub("", below)))
        ):
            return [*components[:index], f"{canonical(component)}_utt{number[1]}", *components[index + 2 :]]
    return components


def _name_index(names: list[str | None]) -> int | None:
    """Index of the name: the first MELD name of an utterance, else of a dialogue, else the last string."""
    named = [(index, name) for index, name in enumerate(names) if name is not None]
    for is_name in (is_utterance, is_dialogue):
        if matches := [index for index, name in named if is_name(name)]:
            return matches[0]
    return named[-1][0] if named else None
