"""What is wrong in a file, and where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Path = tuple[str | int, ...]
"""Keys and indexes from the top of the file: ("tenants", "acme", "caps", 0, "limit")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing to correct. Line and column count from 1."""

    file: str
    line: int
    column: int
    path: Path
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}"
        return f"{where}: {dotted(self.path)}: {self.message}" if self.path else f"{where}: {self.message}"


class ConfigError(Exception):
    """The file cannot be applied; `problems` are all that was found, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems, key=lambda problem: (problem.line, problem.column)))
        super().__init__("\n".join(map(str, self.problems)))


def dotted(path: Path) -> str:
    """tenants.acme.caps[0].limit"""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
