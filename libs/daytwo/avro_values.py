"""Single values: checks against their Avro type, which fastavro does not make (it writes 1.5 as 1 and reads any length), and their
bytes. Source: Apache Avro 1.12 specification, "Binary encoding".
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Final


def int32(value: int) -> int:
    """`value`, if it is an Avro int. Raises ValueError otherwise."""
    if type(value) is int and -0x8000_0000 <= value <= 0x7FFF_FFFF:
        return value
    raise ValueError(f"not a 32-bit integer: {value!r}")


def int64(value: int) -> int:
    """`value`, if it is an Avro long. Raises ValueError otherwise."""
    if type(value) is int and -0x8000_0000_0000_0000 <= value <= 0x7FFF_FFFF_FFFF_FFFF:
        return value
    raise ValueError(f"not a 64-bit integer: {value!r}")


def boolean(value: bool) -> bool:
    """`value`, if it is a boolean. Raises ValueError otherwise."""
    if type(value) is bool:
        return value
    raise ValueError(f"not a boolean: {value!r}")


def double(value: float) -> float:
    """`value` as a float. Raises ValueError if it is no number."""
    if type(value) is float or type(value) is int:
        return float(value)
    raise ValueError(f"not a number: {value!r}")


REMEMBERED: Final = 8192
"""Values whose bytes are kept; what is the same in record after record (names, prices, the id of a request) is looked up."""
_LONGEST_KEPT: Final = 64


class _Texts(dict[str, bytes]):
    """The bytes of a string, by the string."""

    def __missing__(self, value: str) -> bytes:
        if type(value) is not str:
            raise TypeError(f"not a string: {value!r}")
        data = value.encode()
        made = LONGS[len(data)] + data
        if len(data) <= _LONGEST_KEPT:
            if len(self) >= REMEMBERED:
                self.clear()
            self[value] = made
        return made


class _Longs(dict[int, bytes]):
    """The bytes of a whole number, by the number. Floats and booleans equal numbers: look only for what is of type int."""

    def __missing__(self, value: int) -> bytes:
        left = int64(value) << 1 ^ value >> 63
        out = bytearray()
        while left > 0x7F:
            out.append(left & 0x7F | 0x80)
            left >>= 7
        out.append(left)
        if len(self) >= REMEMBERED:
            self.clear()
        made = self[value] = bytes(out)
        return made


TEXTS: Final = _Texts()
LONGS: Final = _Longs()
_pack_double: Final[Callable[[float], bytes]] = struct.Struct("<d").pack


def long(value: int) -> bytes:
    """The bytes of a long. Raises ValueError where it is none."""
    return LONGS[int64(value)]


def integer(value: int) -> bytes:
    """The bytes of an int. Raises ValueError where it is none."""
    return LONGS[int32(value)]


def truth(value: bool) -> bytes:
    """The byte of a boolean. Raises ValueError where it is none."""
    return b"\1" if boolean(value) else b"\0"


def float64(value: float) -> bytes:
    """The bytes of a double. Raises ValueError where it is no number."""
    return _pack_double(double(value))


def octets(value: bytes) -> bytes:
    """The bytes of bytes. Raises TypeError where it is none."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"not bytes: {value!r}")
    return LONGS[len(value)] + bytes(value)


class _Symbols(dict[str, bytes]):
    def __missing__(self, value: str) -> bytes:
        raise ValueError(f"none of {', '.join(self)}: {value!r}")


def indexes(*symbols: str) -> Mapping[str, bytes]:
    """The bytes of an enum's symbols, by symbol. Any other raises ValueError."""
    return _Symbols((symbol, LONGS[number]) for number, symbol in enumerate(symbols))


def many(items: Sequence[bytes]) -> bytes:
    """The bytes of an array of at least one item."""
    return b"".join((LONGS[len(items)], *items, b"\0"))


def mapped(names: Mapping[str, object], values: Sequence[bytes]) -> bytes:
    """The bytes of a map, its values in the order of its names."""
    pairs = [part for name, value in zip(names, values, strict=True) for part in (TEXTS[name], value)]
    return b"".join((LONGS[len(values)], *pairs, b"\0")) if pairs else b"\0"
