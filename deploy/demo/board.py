"""The table: live on a terminal, one line a result elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from deploy.demo.row import Row
from deploy.demo.script import Line

COLUMNS: Final = ("tenant", "question", "outcome", "served by", "latency", "cost", "saved")
WIDTHS: Final = (8, 50, 24, 22, 8, 11, 11)
RIGHT: Final = ("latency", "cost", "saved")
COLOURS: Final = {"answered": "green", "answered_in_part": "green", "refused": "yellow"}
ROOM_AROUND: Final = 8
"""Lines of the terminal that the live table leaves free."""


def dollars(nano: int) -> str:
    """To ten nano-dollars, so that the answers of a small model can be told apart."""
    return f"${nano / 1e9:.8f}" if nano else "-"


def duration(milliseconds: float) -> str:
    return f"{milliseconds:.0f} ms" if milliseconds < 1000 else f"{milliseconds / 1000:.1f} s"


def served_by(row: Row) -> str:
    """A deployment, or the cache and how the question was found there."""
    match row.served:
        case "exact":
            return "cache, word for word"
        case "semantic":
            return f"cache, alike {row.similarity:.2f}"
        case "coalesced":
            return "cache, asked just now"
        case "deployment":
            return row.deployment + (f", {row.citations} sources" if row.citations else "")
    return "-"


def cells(row: Row) -> tuple[str, ...]:
    """The texts of a row, in the order of COLUMNS."""
    outcome = row.outcome if row.reason in ("", "ok") else f"{row.outcome}: {row.reason}"
    return (row.tenant, row.text, outcome, served_by(row), duration(row.latency_ms), dollars(row.cost_nano), dollars(row.saved_nano))


def plain_line(texts: Sequence[str]) -> str:
    """Aligned columns; what is too long is cut."""
    fitted = [
        text[:width].rjust(width) if column in RIGHT else text[:width].ljust(width)
        for column, width, text in zip(COLUMNS, WIDTHS, texts, strict=True)
    ]
    return "  ".join(fitted).rstrip()


class Board:
    """Shows questions as they are asked and answered. `monotonic` in seconds."""

    def __init__(self, console: Console, monotonic: Callable[[], float]) -> None:
        self._console = console
        self._monotonic = monotonic
        self._lines: list[tuple[Line, float]] = []
        self._rows: dict[int, Row] = {}
        self._is_live = False

    def say(self, text: str, style: str = "") -> None:
        self._console.print(Text(text, style=style), soft_wrap=True)

    @contextmanager
    def table(self) -> Iterator[None]:
        """One table of what is asked within."""
        self._lines, self._rows = [], {}
        if not self._console.is_terminal:
            self.say(plain_line(COLUMNS))
            yield
            return
        self._is_live = True
        with Live(get_renderable=self._drawn, console=self._console, refresh_per_second=5):
            try:
                yield
            finally:
                self._is_live = False

    def asked(self, line: Line) -> int:
        """The number under which its end is told."""
        self._lines.append((line, self._monotonic()))
        return len(self._lines) - 1

    def ended(self, number: int, row: Row) -> None:
        self._rows[number] = row
        if not self._console.is_terminal:
            self.say(plain_line(cells(row)))

    def _drawn(self) -> Table:
        """While it grows, its last rows; at the end, all."""
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for column, width in zip(COLUMNS, WIDTHS, strict=True):
            table.add_column(column, justify="right" if column in RIGHT else "left", no_wrap=True, max_width=width)
        first = max(0, len(self._lines) - max(5, self._console.height - ROOM_AROUND)) if self._is_live else 0
        for number in range(first, len(self._lines)):
            table.add_row(*self._texts(number))
        return table

    def _texts(self, number: int) -> list[Text]:
        row = self._rows.get(number)
        if row is not None:
            return [Text(text, style=COLOURS.get(row.outcome, "red") if place == 2 else "") for place, text in enumerate(cells(row))]
        line, since = self._lines[number]
        waiting = (line.tenant, line.text, "asked", "", duration((self._monotonic() - since) * 1000), "", "")
        return [Text(text, style="dim") for text in waiting]
