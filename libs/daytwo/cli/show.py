"""What is printed: tables for people, JSON for programs."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from datetime import UTC, datetime
from typing import Any

import click

# Control characters, which could move the cursor or change colours, and marks that turn the direction of what follows.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")

json_option = click.option("--json", "as_json", is_flag=True, help="JSON for programs.")


def plain(value: Any) -> Any:
    """A record as JSON has it; bytes in base64."""
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def document(value: Any) -> None:
    """One JSON document."""
    click.echo(_json(value, indent=2))


def line(value: Any) -> None:
    """One JSON line."""
    click.echo(_json(plain(value)))


def _json(value: Any, indent: int | None = None) -> str:
    text = json.dumps(value, indent=indent, default=_other, ensure_ascii=False)
    # What JSON lets stand, and a terminal might obey, stands in strings only.
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def say(text: str) -> None:
    """Text of others, line by line as it is, but for what a terminal would obey."""
    click.echo(_OBEYED.sub("·", text))


def _other(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else plain(value)


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "", right: Sequence[str] = ()) -> None:
    """A table; columns named in `right` are aligned right. Nothing in it is markup."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None, box=SIMPLE_HEAD, title_justify="left", pad_edge=False)
    for column in columns:
        drawn.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*[Text(clean(cell)) for cell in row])
    console = Console(highlight=False, soft_wrap=False)
    # A pipe has no width, and must not be cut to a guess.
    if not console.is_terminal:
        console = Console(highlight=False, width=240)
    console.print(drawn)


def clean(cell: Any) -> str:
    """Text for a terminal: no control characters, which could move the cursor or change colours."""
    text = "" if cell is None else str(cell)
    return "".join(char if char.isprintable() else "·" for char in text)


def note(text: str) -> None:
    """Beside the output proper, on standard error."""
    click.echo(_OBEYED.sub("·", text), err=True)


def at(ms: int) -> str:
    """Epoch milliseconds for people, UTC; as they are where no calendar has them."""
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms"


def short(text: str | None, width: int = 60) -> str:
    """One line, cut to `width`."""
    joined = " ".join((text or "").split())
    return joined if len(joined) <= width else joined[: width - 1] + "…"


@contextmanager
def progress(what: str, total: int, *, quiet: bool = False) -> Iterator[Callable[[], None]]:
    """A bar on standard error, where a person sees it; yields what moves it on by one."""
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)
