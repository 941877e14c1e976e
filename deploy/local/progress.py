"""Numbered steps on standard error, so that standard output stays for results."""

from __future__ import annotations

import sys
from typing import TextIO


class Steps:
    """Writes `[2/6] Kafka ...`, and indented notes below it. Every line is flushed: a watcher sees it at once."""

    def __init__(self, total: int, out: TextIO = sys.stderr) -> None:
        self._total = total
        self._done = 0
        self._out = out

    def begin(self, text: str) -> None:
        self._done += 1
        self._line(f"[{self._done}/{self._total}] {text}")

    def note(self, text: str) -> None:
        self._line(f"      {text}")

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()
