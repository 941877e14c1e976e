"""Checks of single values against their Avro type, which fastavro does not make: it writes 1.5 as 1 and reads any length."""

from __future__ import annotations


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
