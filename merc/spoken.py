"""A written English word as it is spoken, in the letters that a speech model knows."""

import re
import unicodedata

APOSTROPHES = dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4\uff07", "'")
LIGATURES = {"ß": "ss", "æ": "ae", "œ": "oe", "ø": "o", "ł": "l", "đ": "d", "ð": "th", "þ": "th"}
SYMBOLS = {"&": "and", "%": "percent", "@": "at", "+": "plus", "=": "equals", "°": "degrees"}
CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
NUMBER = re.compile(
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
LONGEST = 15  # digits of a number; a longer one is read digit by digit


def spell(word: str, letters: frozenset[str]) -> list[str]:
    """The words that are heard of one written word, of these letters alone; none if it has none of them.

    Letters all of one case set the case. What is unknown is left out, an accent before its letter.
    """
    if not letters & set("0123456789"):
        word = NUMBER.sub(lambda found: f" {_number(found)} ", word)
    word = "".join(f" {SYMBOLS[sign]} " if sign in SYMBOLS else APOSTROPHES.get(sign, sign) for sign in word)
    word = _cased(word, letters)
    spelled = ["".join(_known(sign, letters) for sign in part) for part in re.split(r"[\s\-\u2010-\u2015/]+", word)]
    return [part for part in spelled if any(map(str.isalnum, part))]


def _cased(word: str, letters: frozenset[str]) -> str:
    upper, lower = any(map(str.isupper, letters)), any(map(str.islower, letters))
    return word if upper == lower else word.upper() if upper else word.lower()


def _known(sign: str, letters: frozenset[str]) -> str:
    """The sign, or what is left of it without accents, if that is known."""
    plain = LIGATURES.get(sign.lower(), sign)
    plain = unicodedata.normalize("NFKD", plain.upper() if sign.isupper() else plain)
    return sign if sign in letters else "".join(part for part in plain if part in letters)


def _number(found: re.Match[str]) -> str:
    currency, whole, decimals, ending = found.groups()
    digits = whole.replace(",", "")
    said = _year(digits) if len(whole) == 4 and not currency and not decimals else _whole(digits)
    if decimals:
        said += " point " + " ".join(ONES[int(digit)] for digit in decimals)
    if currency:
        said += f" {CURRENCIES[currency]}" + ("" if (digits, decimals) == ("1", None) else "s")
    return _plural(said) if (ending or "").lower() == "s" else _ordinal(said) if ending else said


def _whole(digits: str) -> str:
    if len(digits) > LONGEST or (len(digits) > 1 and int(digits[0]) == 0):
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
        return _whole(digits)
    last = "hundred" if rest == 0 else f"oh {ONES[rest]}" if rest < 10 else _cardinal(rest)
    return f"{_cardinal(century)} {last}"


def _ordinal(said: str) -> str:
    *first, last = said.split()
    usual = f"{last.removesuffix('y')}ieth" if last.endswith("ty") else f"{last.removesuffix('t')}th"
    return " ".join([*first, ORDINALS.get(last, usual)])


def _plural(said: str) -> str:
    return said.removesuffix("y") + "ies" if said.endswith("y") else said + ("es" if said.endswith("x") else "s")
