"""Damages bytes as a hostile writer would, from a seed: the same seed gives the same bytes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Final

Damage = Callable[[bytearray, Random], bytes | bytearray]

TEXTS: Final = (
    b"\x00",
    b"\x1b]0;owned\x07\x1b[2J",
    b"\xed\xa0\x80",  # a lone surrogate
    b"\xff\xfe",
    b"\xc0\xaf",  # overlong /
    b"\xf4\x90\x80\x80",  # beyond U+10FFFF
    "\u202e\u2028\ufeff\x85\U0001f4a3".encode(),
    b"a\r\nb: c",
    b"../../x/y",
    b"NaN",
    b"Infinity",
    b"-1",
    b"1e999",
    b"9" * 400,
    b"[" * 2000,
    b'{"a":' * 2000,
    b"${HOME}",
    b"*a",
    b"&a",
    b"<p>" * 300,
    b"> " * 300,
    b"x" * 70_000,
)
"""What is rarely meant well, as bytes."""


def number(value: int) -> bytes:
    """`value` as an Avro long, of whatever size."""
    raw = value << 1 if value >= 0 else (-value << 1) - 1
    out = bytearray()
    while raw > 0x7F:
        out.append(raw & 0x7F | 0x80)
        raw >>= 7
    out.append(raw)
    return bytes(out)


NUMBERS: Final = (
    *(number(value) for value in (0, -1, 1, 127, 2**31 - 1, 2**31, -(2**31), 2**40, 2**60, 2**63 - 1, -(2**63), 2**63, 2**69)),
    b"\x80" * 9 + b"\x00",  # overlong
    b"\xff" * 12,  # without an end
)


def mutate(data: bytes, rng: Random, others: Sequence[bytes] = (), *, most: int = 4) -> bytes:
    """`data` with 1 to `most` damages; `others` are what it may be spliced with."""
    damaged = bytearray(data)
    for _ in range(rng.randint(1, most)):
        if others and rng.random() < 0.1:
            damaged = bytearray(_spliced(bytes(damaged), rng.choice(others), rng))
        else:
            damaged = bytearray(rng.choice(_DAMAGES)(damaged, rng))
    return bytes(damaged)


def _spliced(one: bytes, other: bytes, rng: Random) -> bytes:
    return one[: _place(one, rng)] + other[_place(other, rng) :]


def _place(data: bytes | bytearray, rng: Random) -> int:
    return rng.randint(0, len(data))


def _span(data: bytearray, rng: Random) -> slice:
    start = _place(data, rng)
    return slice(start, min(len(data), start + rng.choice((1, 2, 4, 16, 64))))


def _flipped(data: bytearray, rng: Random) -> bytearray:
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    return data


def _set(data: bytearray, rng: Random) -> bytearray:
    if data:
        data[rng.randrange(len(data))] = rng.choice((0, 1, 2, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return data


def _cut_out(data: bytearray, rng: Random) -> bytearray:
    del data[_span(data, rng)]
    return data


def _doubled(data: bytearray, rng: Random) -> bytearray:
    span = _span(data, rng)
    data[span] = data[span] * rng.choice((2, 3, 40))
    return data


def _cut_short(data: bytearray, rng: Random) -> bytearray:
    return data[: _place(data, rng)]


def _longer(data: bytearray, rng: Random) -> bytes:
    return bytes(data) + rng.randbytes(rng.choice((1, 2, 30)))


def _with_text(data: bytearray, rng: Random) -> bytearray:
    place = _place(data, rng)
    data[place : place + rng.choice((0, 0, 1, 8))] = rng.choice(TEXTS)
    return data


def _with_text_instead(data: bytearray, rng: Random) -> bytearray:
    """Nothing moves, so that lengths still say the truth."""
    text = rng.choice(TEXTS)[:12]
    place = _place(data, rng)
    data[place : place + len(text)] = text[: len(data) - place]
    return data


def _with_number(data: bytearray, rng: Random) -> bytearray:
    place = _place(data, rng)
    data[place : place + rng.choice((0, 1, 1, 2))] = rng.choice(NUMBERS)
    return data


def _framed_otherwise(data: bytearray, rng: Random) -> bytearray:
    data[:5] = rng.choice((b"", b"\x01", b"\0", b"\0\0\0\0", b"\0\0\0\0" + bytes([rng.randrange(32)]), b"\0\xff\xff\xff\xff"))
    return data


def _noise(data: bytearray, rng: Random) -> bytearray:
    span = _span(data, rng)
    data[span] = rng.randbytes(span.stop - span.start)
    return data


_DAMAGES: Final[tuple[Damage, ...]] = (
    _flipped,
    _set,
    _cut_out,
    _doubled,
    _cut_short,
    _longer,
    _with_text,
    _with_text_instead,
    _with_number,
    _framed_otherwise,
    _noise,
)
