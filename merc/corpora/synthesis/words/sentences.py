"""Sentences built from the patterns: the topics are the same in every mood, only the bracketed words express it."""

import re
from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.plan.randomness import pick
from merc.corpora.synthesis.words.phrases import COMMON_PATTERNS, HELD_OUT_PATTERNS, TOPICS

HELD_OUT_FRACTION = 0.35  # of the sentences of dev and test
BRACKET = re.compile(r"\[(.*?)\]")
START = re.compile(r"(?:^|[.?!] )[a-z]")  # of a sentence


@dataclass(frozen=True)
class Sentence:
    """A sentence, and the character spans that express the mood."""

    text: str
    carriers: tuple[tuple[int, int], ...]


def draw_sentence(mood: str, split: str, random: np.random.Generator) -> Sentence:
    """Draw a sentence in this mood; some patterns occur in dev and test only."""
    is_fresh = split != "train" and random.random() < HELD_OUT_FRACTION
    pattern = pick(random, HELD_OUT_PATTERNS[mood] if is_fresh else COMMON_PATTERNS[mood])
    return fill_pattern(pattern, pick(random, TOPICS))


def fill_pattern(pattern: str, thing: str) -> Sentence:
    """Fill in the topic, remove the brackets and record their spans."""
    filled = pattern.format(thing=thing)
    text, carriers, end = "", [], 0
    for match in BRACKET.finditer(filled):
        text += filled[end : match.start()]
        carriers.append((len(text), len(text) + len(match[1])))
        text, end = text + match[1], match.end()
    text += filled[end:]
    return Sentence(START.sub(lambda match: match[0].upper(), text), tuple(carriers))
