"""Decoding of transcripts, repair of characters left by the Windows code page cp1252, and times as text."""

import codecs
import csv
import re

csv.field_size_limit(2**27)  # characters of a cell in every table that is decoded here; csv's own limit is 131,072

# U+0080-U+009F are control characters in Unicode; in transcripts they are cp1252 decoded as latin-1
_CP1252_AS_LATIN1 = re.compile("[\x80-\x9f]")
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def repair(text: str) -> tuple[str, int]:
    """Replace U+0080-U+009F by their cp1252 meaning (U+0092 is an apostrophe); also return the number replaced."""
    return _CP1252_AS_LATIN1.subn(_from_cp1252, text)


def _from_cp1252(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("cp1252", errors="ignore")  # cp1252 leaves five of the bytes undefined


def decode(content: bytes) -> str:
    """Decode a text file: UTF-16 by its byte order mark, UTF-8 with or without one, else cp1252."""
    try:
        return content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def timestamp(seconds: float) -> str:
    """Time as in SubRip and in MELD's tables: 01:02:03,450."""
    milliseconds = round(seconds * 1000)
    hours, minutes, rest = milliseconds // 3_600_000, milliseconds // 60_000 % 60, milliseconds % 60_000
    return f"{hours:02}:{minutes:02}:{rest // 1000:02},{rest % 1000:03}"
