"""Decoding of transcripts, and repair of characters left by the Windows code page cp1252."""

import re

# U+0080-U+009F are control characters in Unicode; in transcripts they are cp1252 decoded as latin-1
_CP1252_AS_LATIN1 = re.compile("[\x80-\x9f]")


def repair(text: str) -> tuple[str, int]:
    """Replace U+0080-U+009F by their cp1252 meaning (U+0092 is an apostrophe); also return the number replaced."""
    return _CP1252_AS_LATIN1.subn(_from_cp1252, text)


def _from_cp1252(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("cp1252", errors="ignore")  # cp1252 leaves five of the bytes undefined


def decode(content: bytes) -> str:
    """Decode a text file: UTF-8 with or without a byte order mark, else cp1252."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")
