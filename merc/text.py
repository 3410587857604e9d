"""Repair of transcripts: characters that a Windows code page left behind."""

import re

# U+0080-U+009F are control characters in Unicode; in transcripts, cp1252 that was read as latin-1
_STRAY = re.compile("[\x80-\x9f]")


def repair(text: str) -> tuple[str, int]:
    """The text with U+0080-U+009F read as cp1252 (U+0092 is an apostrophe), and how many were replaced."""
    return _STRAY.subn(_from_cp1252, text)


def _from_cp1252(match: re.Match[str]) -> str:
    return match[0].encode("latin-1").decode("cp1252", errors="ignore")  # five of the bytes mean nothing


def decode(content: bytes) -> str:
    """A text file's content: UTF-8 with or without a byte order mark, else cp1252."""
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")
