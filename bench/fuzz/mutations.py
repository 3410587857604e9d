"""Mutations of a file's bytes: what damage, a wrong tool, a typing error or an attacker may do to it."""

import re
from collections.abc import Callable

import numpy as np

MAX_BYTES = 20_000_000  # of a mutated file
MAX_STEPS = 6  # mutations of one file
# numbers at the borders of what a format or a machine can hold
NUMBERS = (
    *(b"0", b"-1", b"1", b"255", b"65536", b"2147483648", b"999999999999", b"18446744073709551616"),
    *(b"1e309", b"-1e-309", b"nan", b"inf", b".inf", b"null", b"true", b"''", b"[]", b"{}"),
)
WORDS = (
    *(b"", b'"', b"'", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\n", b"\t", b",", b";", b"-->", b"<i>"),
    *(
        b"../../../etc/passwd",
        b"/dev/zero",
        b"http://127.0.0.1:9/",
        b"%s%n",
        b"&a *a",
        b"!!python/object",
        b"\xed\xa0\x80",
    ),
)
INTEGERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:e-?\d+)?")
LINE = re.compile(rb"[^\n]*\n?")

Random = np.random.Generator


def _place(random: Random, content: bytes) -> int:
    return int(random.integers(0, len(content) + 1))


def _piece(random: Random, content: bytes) -> slice:
    """A piece, most often a short one."""
    begin = _place(random, content)
    return slice(begin, begin + int(min(random.geometric(0.02), 4096)))


def flip_bits(random: Random, content: bytes, other: bytes) -> bytes:
    """Turn over up to 16 bits."""
    changed = bytearray(content)
    for place in random.integers(0, max(len(changed), 1), int(random.integers(1, 17))) if changed else ():
        changed[place] ^= 1 << int(random.integers(8))
    return bytes(changed)


def overwrite_integer(random: Random, content: bytes, other: bytes) -> bytes:
    """Write a number at the border of a binary format's integers."""
    size, order = int(random.choice((1, 2, 4, 8))), ("big", "little")[random.integers(2)]
    value = INTEGERS[random.integers(len(INTEGERS))] % 256**size
    place = _place(random, content)
    return content[:place] + value.to_bytes(size, order) + content[place + size :]


def delete(random: Random, content: bytes, other: bytes) -> bytes:
    """Take a piece out."""
    piece = _piece(random, content)
    return content[: piece.start] + content[piece.stop :]


def repeat(random: Random, content: bytes, other: bytes) -> bytes:
    """Repeat a piece, up to 10,000 times."""
    piece = content[_piece(random, content)]
    count = int(10 ** random.uniform(0, 4))
    place = _place(random, content)
    return content[:place] + piece * count + content[place:]


def insert_noise(random: Random, content: bytes, other: bytes) -> bytes:
    """Insert random bytes."""
    place = _place(random, content)
    return content[:place] + random.bytes(int(min(random.geometric(0.02), 4096))) + content[place:]


def truncate(random: Random, content: bytes, other: bytes) -> bytes:
    """Cut the end off."""
    return content[: _place(random, content)]


def swap(random: Random, content: bytes, other: bytes) -> bytes:
    """Exchange two halves around a place."""
    place = _place(random, content)
    return content[place:] + content[:place]


def splice(random: Random, content: bytes, other: bytes) -> bytes:
    """The beginning of one file, the end of another."""
    return content[: _place(random, content)] + other[_place(random, other) :]


def change_number(random: Random, content: bytes, other: bytes) -> bytes:
    """Write another number for one that is written in digits."""
    if not (numbers := list(NUMBER.finditer(content[:100_000]))):
        return insert_noise(random, content, other)
    chosen = numbers[random.integers(len(numbers))]
    return content[: chosen.start()] + NUMBERS[random.integers(len(NUMBERS))] + content[chosen.end() :]


def insert_word(random: Random, content: bytes, other: bytes) -> bytes:
    """Insert a word that means something to some reader."""
    place = _place(random, content)
    return content[:place] + WORDS[random.integers(len(WORDS))] + content[place:]


def repeat_line(random: Random, content: bytes, other: bytes) -> bytes:
    """Repeat a line elsewhere."""
    lines = LINE.findall(content[:1_000_000])
    lines.insert(int(random.integers(len(lines) + 1)), lines[random.integers(len(lines))])
    return b"".join(lines)


MUTATIONS: tuple[Callable[[Random, bytes, bytes], bytes], ...] = (
    *(flip_bits, overwrite_integer, delete, repeat, insert_noise, truncate, swap, splice),
    *(change_number, insert_word, repeat_line),
)


def mutate(random: Random, content: bytes, other: bytes) -> bytes:
    """The file after one to six mutations, most often after one; `other` is another file of the kind."""
    for _ in range(min(int(random.geometric(0.5)), MAX_STEPS)):
        content = MUTATIONS[random.integers(len(MUTATIONS))](random, content, other)[:MAX_BYTES]
    return content
