"""Reads Avro's binary encoding by a function that is written for one schema when it is first needed, as dataclasses are.

It reads what a proper writer writes, and of each byte it knows whose it is; at anything else it raises. Who calls it then asks
fastavro, which reads more and says what is wrong (codec.py). Source: Apache Avro 1.12 specification, "Binary encoding".
See docs/adr/0016-records-read-themselves.md.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any, Final

NOT_READ: Final = (ValueError, IndexError, struct.error)
"""What a reader raises for bytes that are no proper record."""


def reader(schema: Any, record: type[Any]) -> Callable[[bytes, int], Any]:
    """A function of the bytes and of where the body begins in them, that returns a `record`. `schema` is self-contained JSON; the
    classes of the records in it are found by name, where that of `record` is.
    """
    return _compiled(_Source(vars(sys.modules[record.__module__])), schema, whole=True)


def head_reader(schema: Any) -> Callable[[bytes, int], dict[str, Any]]:
    """The same for the leading fields that `schema` names, as dictionaries. What comes behind them is not looked at."""
    return _compiled(_Source(None), schema, whole=False)


def _compiled(source: _Source, schema: Any, *, whole: bool) -> Callable[[bytes, int], Any]:
    made = source.value(schema, 1)
    lines = ["def read(data, at):", *source.lines]
    if whole:
        lines += ["    if at != len(data):", "        raise ValueError('bytes behind the record, or too few')"]
    else:
        lines += ["    if at > len(data):", "        raise ValueError('too few bytes')"]
    namespace = {**source.names, "number": _number, "size": _size, "double": struct.Struct("<d").unpack_from, "new": object.__new__}
    # What is executed is made of released schemas, of nothing that came over the wire.
    exec("\n".join([*lines, f"    return {made}"]), namespace)  # noqa: S102
    read: Callable[[bytes, int], Any] = namespace["read"]
    return read


def _number(data: bytes, at: int) -> tuple[int, int]:
    """The number of more than one byte whose first is before `at`, as it stands there, and where it ends."""
    raw = data[at - 1] & 0x7F
    shift = 7
    while (byte := data[at]) > 0x7F:
        if shift == 63:
            raise ValueError("a number of more than ten bytes")
        raw |= (byte & 0x7F) << shift
        shift += 7
        at += 1
    raw |= byte << shift
    if raw >> 64:
        raise ValueError("a number beyond 64 bits")
    return raw, at + 1


def _size(data: bytes, at: int) -> tuple[int, int]:
    """The same for a length, or a count, that is large or negative. A zero of several bytes is one that ends a list, too."""
    raw, at = _number(data, at) if data[at - 1] > 0x7F else (data[at - 1], at)
    if raw & 1 or not raw:
        raise ValueError("a negative length, or a zero that is not written as one")
    return raw, at


class _Source:
    """The body of a reader. A length that is too large ends behind the data: the next byte is not there, or the end is not where it
    should be. Each item of a list takes a byte at least, so no count makes it longer than the data.
    """

    def __init__(self, classes: dict[str, Any] | None) -> None:
        """`classes`: by name; None: dictionaries are made."""
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self._classes = classes
        self._types: dict[str, Any] = {}
        self._variables = 0

    def value(self, schema: Any, depth: int) -> str:
        """Writes what reads a value; returns the expression of it."""
        if isinstance(schema, list):
            return self._union(schema, depth)
        if isinstance(schema, dict) and "name" in schema:
            self._types[f"daytwo.{schema['name']}"] = schema
        kind = schema if isinstance(schema, str) else schema["type"]
        if kind in self._types:
            return self.value(self._types[kind], depth)
        write: Callable[[Any, str, int], None] = getattr(self, f"_{kind}")
        variable = self._variable()
        write(schema, variable, depth)
        return variable

    def _variable(self) -> str:
        self._variables += 1
        return f"v{self._variables}"

    def _write(self, depth: int, *lines: str) -> None:
        self.lines += ["    " * depth + line for line in lines]

    def _byte(self, depth: int) -> None:
        self._write(depth, "n = data[at]", "at += 1")

    def _union(self, schema: list[Any], depth: int) -> str:
        """Of null and something."""
        variable = self._variable()
        self._byte(depth)
        self._write(depth, "if n == 2:")
        inner = self.value(schema[1], depth + 1)
        self._write(depth + 1, f"{variable} = {inner}")
        self._write(depth, "elif n == 0:", f"    {variable} = None", "else:", "    raise ValueError('no branch of the union')")
        return variable

    def _record(self, schema: Any, variable: str, depth: int) -> None:
        if self._classes is None:
            fields = [(field["name"], self.value(field["type"], depth)) for field in schema["fields"]]
            self._write(depth, f"{variable} = {{{', '.join(f'{name!r}: {value}' for name, value in fields)}}}")
            return
        self.names[schema["name"]] = self._classes[schema["name"]]
        self._write(depth, f"{variable} = new({schema['name']})")
        for field in schema["fields"]:
            self._write(depth, f"{variable}.{field['name']} = {self.value(field['type'], depth)}")

    def _enum(self, schema: Any, variable: str, depth: int) -> None:
        self._byte(depth)
        self._write(depth, "if n & 129:", "    raise ValueError('no symbol')", f"{variable} = {tuple(schema['symbols'])!r}[n >> 1]")

    def _items(self, depth: int) -> None:
        """The head of what is repeated: blocks of so many items, the last with none. The items come at two levels more."""
        self._byte(depth)
        self._write(depth, "while n:", "    if n & 129:", "        n, at = size(data, at)", "    for _ in range(n >> 1):")

    def _array(self, schema: Any, variable: str, depth: int) -> None:
        self._write(depth, f"{variable} = []")
        self._items(depth)
        self._write(depth + 2, f"{variable}.append({self.value(schema['items'], depth + 2)})")
        self._byte(depth + 1)
        if self._classes is not None:
            self._write(depth, f"{variable} = tuple({variable})")

    def _map(self, schema: Any, variable: str, depth: int) -> None:
        self._write(depth, f"{variable} = {{}}")
        self._items(depth)
        name = self.value("string", depth + 2)
        self._write(depth + 2, f"{variable}[{name}] = {self.value(schema['values'], depth + 2)}")
        self._byte(depth + 1)

    def _string(self, _schema: Any, variable: str, depth: int) -> None:
        self._byte(depth)
        self._write(depth, "if n:")
        self._sized(f"{variable} = data[at:end].decode()", depth + 1)
        self._write(depth, "else:", f"    {variable} = ''")

    def _bytes(self, _schema: Any, variable: str, depth: int) -> None:
        self._byte(depth)
        self._sized(f"{variable} = data[at:end]", depth)

    def _sized(self, made: str, depth: int) -> None:
        self._write(depth, "if n & 129:", "    n, at = size(data, at)", "end = at + (n >> 1)", made, "at = end")

    def _long(self, _schema: Any, variable: str, depth: int) -> None:
        self._byte(depth)
        self._write(depth, "if n > 127:", "    n, at = number(data, at)", f"{variable} = n >> 1 ^ -(n & 1)")

    def _int(self, schema: Any, variable: str, depth: int) -> None:
        self._long(schema, variable, depth)
        self._write(depth, "if n >> 32:", "    raise ValueError('a number beyond 32 bits')")

    def _double(self, _schema: Any, variable: str, depth: int) -> None:
        self._write(depth, f"({variable},) = double(data, at)", "at += 8")

    def _boolean(self, _schema: Any, variable: str, depth: int) -> None:
        self._byte(depth)
        self._write(depth, "if n > 1:", "    raise ValueError('neither true nor false')", f"{variable} = n == 1")
