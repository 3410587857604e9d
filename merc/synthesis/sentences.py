"""Sentences of our own writing: the same things are spoken of in every mood, the words in brackets tell it."""

import re
from dataclasses import dataclass

import numpy as np

from merc.synthesis.chance import pick
from merc.synthesis.phrases import FRESH, SEEN, THINGS

FRESH_SHARE = 0.35  # of the sentences of dev and test
BRACKET = re.compile(r"\[(.*?)\]")
START = re.compile(r"(?:^|[.?!] )[a-z]")  # of a sentence


@dataclass(frozen=True)
class Sentence:
    """A sentence, and which of its characters say the mood."""

    text: str
    carriers: tuple[tuple[int, int], ...]


def sentence(mood: str, split: str, random: np.random.Generator) -> Sentence:
    """A sentence in this mood; train knows fewer ways to say it."""
    fresh = split != "train" and random.random() < FRESH_SHARE
    pattern = pick(random, FRESH[mood] if fresh else SEEN[mood])
    return compose(pattern, pick(random, THINGS))


def compose(pattern: str, thing: str) -> Sentence:
    """Fill in the thing, take the brackets out and note where they were."""
    filled = pattern.format(thing=thing)
    text, carriers, end = "", [], 0
    for found in BRACKET.finditer(filled):
        text += filled[end : found.start()]
        carriers.append((len(text), len(text) + len(found[1])))
        text, end = text + found[1], found.end()
    text += filled[end:]
    return Sentence(START.sub(lambda found: found[0].upper(), text), tuple(carriers))
