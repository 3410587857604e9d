"""Spells written English words as they are spoken, in a speech model's letters: 1985 -> nineteen eighty five."""

import re
import unicodedata

from num2words import num2words

APOSTROPHES = dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\uff07", "'")
LIGATURES = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th"}
SYMBOLS = {"&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "°": "degrees"}
CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
NUMBER_PATTERN = re.compile(
    r"([$£€]?)(\d{1,3}(?:,\d{3})+(?!\d)|\d+)(?:\.(\d+))?(?:(st|nd|rd|th|s)(?![^\W\d_]))?", re.IGNORECASE
)
YEARS = 1100, 2099  # numbers of four digits that are read as years
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
    digits, suffix = integer.replace(",", ""), (suffix or "").lower()
    is_year = len(integer) == 4 and YEARS[0] <= int(digits) <= YEARS[1] and not currency and not decimals
    if len(digits) > MAX_DIGITS or (len(digits) > 1 and digits.startswith("0")):
        words = _digit_by_digit(digits).replace("zero", "oh")
    else:
        cardinal = "year" if is_year else "cardinal"
        words = _in_words(int(digits), cardinal if suffix in ("", "s") else "ordinal")
    if decimals:
        words += f" point {_digit_by_digit(decimals)}"
    if currency:
        words += f" {CURRENCIES[currency]}" + ("" if (digits, decimals) == ("1", None) else "s")
    return _plural(words) if suffix == "s" else words


def _digit_by_digit(digits: str) -> str:
    return " ".join(_in_words(int(digit), "cardinal") for digit in digits)


def _in_words(number: int, form: str) -> str:
    """As in American English, without "and"."""
    return re.sub(r",| and\b", "", num2words(number, to=form)).replace("-", " ")


def _plural(words: str) -> str:
    if words.endswith("y"):
        return words.removesuffix("y") + "ies"
    return words + ("es" if words.endswith("x") else "s")
