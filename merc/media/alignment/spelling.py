"""Spells written English words as they are spoken, in a speech model's letters: 1985 -> nineteen eighty five."""

import re
import unicodedata

APOSTROPHES = dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\uff07", "'")
LIGATURES = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th"}
SYMBOLS = {"&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "°": "degrees"}
CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
NUMBER_PATTERN = re.compile(
    r"([$£€]?)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(\d+))?(?:(st|nd|rd|th|s)(?![^\W\d_]))?", re.IGNORECASE
)
ONES = [
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
]
TENS = ["zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
ORDINALS = {
    **{"one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth"},
    **{"nine": "ninth", "twelve": "twelfth"},
}
MAX_DIGITS = 15  # maximum number of digits; a longer number is read digit by digit


def spell(word: str, letters: frozenset[str]) -> list[str]:
    """The spoken words of one written word, in these letters only; empty if no letter of it is among them.

    If the letters are all of one case, the word is converted to it. Accents and ligatures of unknown letters are
    dissolved; what is still unknown is dropped.
    """
    if not letters & set("0123456789"):
        word = NUMBER_PATTERN.sub(lambda match: f" {_number(match)} ", word)
    word = "".join(f" {SYMBOLS[char]} " if char in SYMBOLS else APOSTROPHES.get(char, char) for char in word)
    word = _convert_case(word, letters)
    parts = re.split(r"[\s\-\u2010-\u2015/]+", word)
    spelled = ["".join(_simplify(char, letters) for char in part) for part in parts]
    return [part for part in spelled if any(map(str.isalnum, part))]


def _convert_case(word: str, letters: frozenset[str]) -> str:
    has_upper, has_lower = any(map(str.isupper, letters)), any(map(str.islower, letters))
    return word if has_upper == has_lower else word.upper() if has_upper else word.lower()


def _simplify(char: str, letters: frozenset[str]) -> str:
    """The character or, if it is unknown, its known letters without accents and ligatures."""
    plain = LIGATURES.get(char.lower(), char)
    plain = unicodedata.normalize("NFKD", plain.upper() if char.isupper() else plain)
    return char if char in letters else "".join(part for part in plain if part in letters)


def _number(match: re.Match[str]) -> str:
    """The words of a number matched by NUMBER_PATTERN."""
    currency, integer, decimals, suffix = match.groups()
    digits = integer.replace(",", "")
    words = _year(digits) if len(integer) == 4 and not currency and not decimals else _integer(digits)
    if decimals:
        words += " point " + " ".join(ONES[int(digit)] for digit in decimals)
    if currency:
        words += f" {CURRENCIES[currency]}" + ("" if (digits, decimals) == ("1", None) else "s")
    return _plural(words) if (suffix or "").lower() == "s" else _ordinal(words) if suffix else words


def _integer(digits: str) -> str:
    if len(digits) > MAX_DIGITS or (len(digits) > 1 and int(digits[0]) == 0):
        return " ".join(ONES[int(digit)] if int(digit) else "oh" for digit in digits)
    return _cardinal(int(digits))


def _cardinal(number: int) -> str:
    if number < 20:
        return ONES[number]
    if number < 100:
        return TENS[number // 10] + (f" {ONES[number % 10]}" if number % 10 else "")
    size, name = next((size, name) for size, name in SCALES if number >= size)
    return f"{_cardinal(number // size)} {name}" + (f" {_cardinal(number % size)}" if number % size else "")


def _year(digits: str) -> str:
    """1985 as nineteen eighty five; 1000, 2000 and 2004 as numbers."""
    century, rest = int(digits[:2]), int(digits[2:])
    if not 11 <= century <= 20 or (century == 20 and rest < 10):
        return _integer(digits)
    last = "hundred" if rest == 0 else f"oh {ONES[rest]}" if rest < 10 else _cardinal(rest)
    return f"{_cardinal(century)} {last}"


def _ordinal(words: str) -> str:
    *first, last = words.split()
    regular = f"{last.removesuffix('y')}ieth" if last.endswith("ty") else f"{last.removesuffix('t')}th"
    return " ".join([*first, ORDINALS.get(last, regular)])


def _plural(words: str) -> str:
    if words.endswith("y"):
        return words.removesuffix("y") + "ies"
    return words + ("es" if words.endswith("x") else "s")
