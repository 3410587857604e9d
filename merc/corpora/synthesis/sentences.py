"""Sentences by mood: the topics are the same in every mood, only the words in [brackets] express it."""

import re
from dataclasses import dataclass

import numpy as np

from merc.corpora.synthesis.plan.randomness import pick

HELD_OUT_FRACTION = 0.35  # of the sentences of dev and test
BRACKET = re.compile(r"\[(.*?)\]")
START = re.compile(r"(?:^|[.?!] )[a-z]")  # of a sentence

TOPICS = (
    "the letter", "the report", "the sofa", "the garden", "the car", "the apartment", "the photo album",
    "the cake", "the concert", "the interview", "the new phone", "the party", "the trip", "the school play",
    "the rent", "the piano", "the train tickets", "the coffee machine", "the wedding", "the old house",
    "the haircut", "the job", "the puppy", "the doctor", "the boat", "the kitchen", "the exam", "the painting",
    "the phone call", "the parcel", "the recipe", "the bicycle",
)  # fmt: skip

# Patterns of every split, by mood.
COMMON_PATTERNS = {
    "neutral": (
        "We can talk about {thing} after lunch.",
        "There is a note about {thing} on the fridge.",
        "I wrote to them about {thing} on Monday.",
        "Somebody called about {thing} at noon.",
        "So, about {thing}, is it two or three?",
        "They moved {thing} to Thursday.",
        "I think {thing} comes first on the list.",
        "You said something about {thing} before.",
        "Let us go over {thing} once more.",
        "He will ask you about {thing} later.",
        "I am on my way because of {thing}.",
        "Okay, then {thing} is next.",
        "She has the papers for {thing}.",
        "That is the number for {thing}.",
        "I’ll check on {thing} in the morning.",
        "It’s the same as {thing} last year.",
        "We were just speaking of {thing}.",
        "Do you remember who brought up {thing}?",
    ),
    "joy": (
        "I am [so happy] about {thing}!",
        "[Oh, I love] {thing}!",
        "{thing} was [wonderful], just [wonderful]!",
        "[Great news], {thing} is all ours!",
        "I’m [thrilled] about {thing}!",
        "[Hooray], {thing} worked out!",
        "This is [the best day], thanks to {thing}.",
        "I [can’t stop smiling] because of {thing}.",
        "{thing} makes me [so glad]!",
        "[What fun] we had with {thing}!",
    ),
    "glad surprise": (
        "[Wow], you did {thing} for me?",
        "[Oh my gosh], {thing}, how [lovely]!",
        "[No way], we won {thing}!",
        "[What a nice surprise], {thing}!",
        "[Wow], I [never dreamed] of {thing}!",
        "[Really]? {thing} is for us? [Amazing]!",
        "[Unbelievable], {thing} turned out [perfect]!",
    ),
    "bad surprise": (
        "[What]? {thing} is [ruined]?",
        "[Wait, what]? They [cancelled] {thing}?",
        "[Oh my gosh], you [lost] {thing}?",
        "[How can that be]? {thing} is [gone]?",
        "[No way], {thing} [broke] already?",
        "[What do you mean], no {thing}?",
        "[Seriously]? You [sold] {thing}?",
    ),
    "anger": (
        "I am [so angry] about {thing}!",
        "[How dare you] touch {thing}!",
        "[Shut up] about {thing}!",
        "You [lied to me] about {thing}!",
        "[Damn it], {thing} again!",
        "I’m [sick and tired] of {thing}!",
        "[Stop it], {thing} is none of your business!",
        "[I hate] how you handled {thing}!",
        "{thing} makes me [furious]!",
        "It is [all your fault], {thing}!",
    ),
    "sadness": (
        "I am [so sad] about {thing}.",
        "I [miss] {thing} [so much].",
        "It [breaks my heart] about {thing}.",
        "I [feel so alone] without {thing}.",
        "I [cried all night] over {thing}.",
        "[Sadly], {thing} is over for me.",
        "I’m [sorry], I [lost hope] for {thing}.",
        "{thing} leaves me [heartbroken].",
        "I feel [miserable] because of {thing}.",
        "[Nothing matters] to me after {thing}.",
    ),
    "disgust": (
        "[Yuck], {thing} is [disgusting]!",
        "[Ew], keep {thing} away from me.",
        "{thing} makes me [sick to my stomach].",
        "[Gross], who did that to {thing}?",
        "{thing} smells [awful], [ugh].",
        "That is [revolting], {thing} I mean.",
        "[Ugh], {thing} is [so slimy].",
        "I [want to throw up] near {thing}.",
        "How [nasty], {thing} is full of mould.",
        "{thing} is [filthy], I won’t touch it.",
    ),
    "fear": (
        "I am [so scared] of {thing}.",
        "[Oh no, help], it is {thing}!",
        "I’m [terrified] about {thing}.",
        "{thing} [frightens] me to death.",
        "Please, I’m [afraid] of {thing}.",
        "[Don’t leave me alone] with {thing}!",
        "I am [shaking], is that {thing}?",
        "Something [dreadful] will happen to {thing}.",
        "I have a [bad feeling], {thing} is [dangerous].",
        "[Run], {thing} is coming down!",
    ),
}  # fmt: skip

# Patterns of dev and test only: recognising them requires word meanings that training does not show.
HELD_OUT_PATTERNS = {
    "neutral": (
        "You could leave {thing} for the weekend.",
        "I have {thing} down for five o’clock.",
        "He mentioned {thing} on the way here.",
        "We’ll get to {thing} in a minute.",
    ),
    "joy": (
        "I’m [delighted] with {thing}!",
        "[Yay], {thing} is [fantastic]!",
        "{thing} was [a pure delight]!",
    ),
    "glad surprise": (
        "[Goodness], {thing} is [gorgeous], I had [no idea]!",
        "[I can’t believe it], {thing}, [thank you]!",
    ),
    "bad surprise": (
        "[Huh]? {thing} was [stolen]?",
        "[I can’t believe it], {thing} [fell apart]?",
    ),
    "anger": (
        "You make me [so mad] with {thing}!",
        "[Get out], and take {thing} along!",
        "I am [outraged] over {thing}!",
    ),
    "sadness": (
        "I [can’t stop crying] about {thing}.",
        "{thing} makes me [so unhappy].",
        "I am [grieving] for {thing}.",
    ),
    "disgust": (
        "{thing} is [repulsive], [yuck].",
        "[Eww], {thing} looks [rotten].",
        "I find {thing} [sickening].",
    ),
    "fear": (
        "I am [panicking] about {thing}.",
        "{thing} gives me [nightmares], I’m [frightened].",
        "[Help me], I’m [scared] of {thing}!",
    ),
}  # fmt: skip


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
