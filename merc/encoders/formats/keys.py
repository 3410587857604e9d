"""How files name splits, dialogues and utterances, and the one name that each gets here."""

import re
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
TWIN = "final_videos_test"  # of MELD's second cut of a clip
ENDING = re.compile(r"\.(wav|mp3|mp4|m4a|flac|ogg|opus|avi|mov|mkv|webm|jpe?g|png|txt|npy)$", re.IGNORECASE)
UTTERANCE = re.compile(rf"({TWIN})?_?dia(\d{{1,9}})[_-]?utt(\d{{1,9}})", re.IGNORECASE)
PAIR = re.compile(r"(\d{1,9})_(\d{1,9})")
DIALOGUE = re.compile(r"(?:dia(?:logue)?_?)?(\d{1,9})", re.IGNORECASE)
NUMBER = re.compile(r"(?:utt(?:erance)?_?)?(\d{1,9})", re.IGNORECASE)  # of an utterance, below its dialogue
BREAKS = re.compile(r"[_\-. ]+")


def canonical(name: Any) -> str:
    """`dia<D>_utt<U>` for MELD's names, `0_0`, (0, 0) and "(0, 0)"; `dia<D>` for a number; else without ending."""
    text = ENDING.sub("", _plain(name).strip())
    if match := UTTERANCE.fullmatch(text):
        return f"{(match[1] or '').lower()}dia{int(match[2])}_utt{int(match[3])}"
    if match := PAIR.fullmatch(text):
        return f"dia{int(match[1])}_utt{int(match[2])}"
    if match := DIALOGUE.fullmatch(text):
        return f"dia{int(match[1])}"
    return text


def is_utterance(name: str) -> bool:
    """Whether a canonical name is MELD's of an utterance."""
    return UTTERANCE.fullmatch(name) is not None


def is_dialogue(name: str) -> bool:
    """Whether a canonical name is MELD's of a dialogue."""
    return re.fullmatch(r"dia\d+", name) is not None


def parts_of(key: Any) -> list[str]:
    """The steps of a path that a key says: a/b is two, and (split, dialogue, utterance) as well."""
    if isinstance(key, (tuple, list)) and len(key) == 3 and str(key[0]).lower() in SPLIT_WORDS:
        return [str(key[0]), canonical(tuple(key[1:]))]
    return [part for part in _plain(key).split("/") if part.strip()] or [""]


def without_split(part: str) -> tuple[str | None, str]:
    """The split that a step of a path names, and what is left of the step: train_features -> train, features."""
    if is_utterance(canonical(part)):
        return None, part
    words = [word for word in BREAKS.split(part) if word]
    split = next((SPLIT_WORDS[word.lower()] for word in reversed(words) if word.lower() in SPLIT_WORDS), None)
    return split, "_".join(word for word in words if word.lower() not in SPLIT_WORDS) if split else part


def _plain(name: Any) -> str:
    """A tuple, or what `str` made of one, with _ between its members."""
    if isinstance(name, bytes):
        return name.decode("utf-8", errors="replace")
    if isinstance(name, (tuple, list)):
        return "_".join(str(one).strip() for one in name)
    text = str(name).strip()
    if re.fullmatch(r"[(\[].*[)\]]", text, re.DOTALL):
        return "_".join(one.strip().strip("'\"") for one in text[1:-1].split(",") if one.strip())
    return text


def placed(way: tuple[str | int, ...]) -> tuple[str | None, str, str]:
    """The split, the part and the name that a way through folders, keys and places in lists says."""
    split, rest = None, []
    for step in way:
        own, word = without_split(step) if isinstance(step, str) else (None, step)
        split, rest = own or split, rest + ([word] if word != "" else [])
    rest = _paired(rest)
    words = [canonical(step) if isinstance(step, str) else None for step in rest]
    place = _place(words)
    if place is None:
        return split, "/".join(map(str, rest)), ""
    inside = [str(step) for step in rest[place + 1 :] if isinstance(step, int)]
    others = [*rest[:place], *(step for step in rest[place + 1 :] if isinstance(step, str))]
    return split, "/".join(map(str, others)), "/".join([str(words[place]), *inside])


def _paired(steps: list[str | int]) -> list[str | int]:
    """An utterance below its dialogue, dia0/utt1 or 0/1, as one step."""
    for place, (step, below) in enumerate(pairwise(steps)):
        words = isinstance(step, str) and isinstance(below, str) and is_dialogue(canonical(step))
        if words and (number := NUMBER.fullmatch(ENDING.sub("", below))):
            return [*steps[:place], f"{canonical(step)}_utt{number[1]}", *steps[place + 2 :]]
    return steps


def _place(words: list[str | None]) -> int | None:
    """Which step is the name: MELD's of an utterance, of a dialogue, or else the last word."""
    named = [i for i, word in enumerate(words) if word is not None]
    for kind in (is_utterance, is_dialogue):
        if found := [i for i in named if kind(words[i])]:
            return found[0]
    return named[-1] if named else None
