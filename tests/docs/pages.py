"""The documents, taken apart: links, headings, code, tables. Pure but for reading the files."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parents[2]
PLACES: Final = ("*.md", "docs/**/*.md", "services/*/README.md", "deploy/**/README.md")
WRITTEN_BY_COMMANDS: Final = frozenset({ROOT / "docs/benchmarks.md", ROOT / "docs/benchmarks-sessions.md"})
"""Pages that may not be there until somebody has typed the command that writes them (`make bench`, `make bench-sessions`)."""

_FENCE: Final = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK: Final = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN: Final = re.compile(r"`([^`\n]+)`")
_HEADING: Final = re.compile(r"^#+ (.+)$", re.MULTILINE)


class Block(NamedTuple):
    """Fenced code: its language, its text, and the line before it."""

    language: str
    text: str
    introduction: str


def pages() -> list[Path]:
    """Every document of the repository."""
    return sorted({path for place in PLACES for path in ROOT.glob(place)})


def blocks(text: str) -> Iterator[Block]:
    for match in _FENCE.finditer(text):
        before = text[: match.start()].rstrip().rpartition("\n")[2]
        yield Block(match[1], match[2], before)


def prose(text: str) -> str:
    """The text without its fenced code."""
    return _FENCE.sub("", text)


def spans(text: str) -> list[str]:
    """What stands between single backticks."""
    return _SPAN.findall(prose(text))


def commands(text: str) -> list[str]:
    """What a reader may type: code in the line, and the lines of shell blocks."""
    lines = [line for block in blocks(text) if block.language == "sh" for line in block.text.splitlines()]
    return [*spans(text), *(line.partition("#")[0].strip() for line in lines)]


def anchors(text: str) -> set[str]:
    """The names GitHub gives to headings."""
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in _HEADING.findall(prose(text))}


def dead_links(page: Path, text: str) -> list[str]:
    """The links of `text`, as it would stand at `page`, that lead to no file or no heading. Other hosts are not asked."""
    return [link for link in _LINK.findall(prose(text)) if "://" not in link and not _leads_somewhere(page, text, link)]


def _leads_somewhere(page: Path, text: str, link: str) -> bool:
    name, _, anchor = link.partition("#")
    target = (page.parent / name).resolve() if name else page
    if target in WRITTEN_BY_COMMANDS:
        return True
    if not target.exists() and target != page:
        return False
    return not anchor or anchor in anchors(target.read_text() if name else text)


def section(text: str, heading: str) -> str:
    """From a heading to the next of its level or above."""
    level = heading.partition(" ")[0]
    _, found, rest = text.partition(f"{heading}\n")
    assert found, f"there is no heading {heading!r}"
    return re.split(rf"^#{{1,{len(level)}}} ", rest, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of all table rows but head and rule."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    body = [line for line, after in zip(lines, [*lines[1:], ""], strict=True) if not (_is_rule(line) or _is_rule(after))]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def _is_rule(line: str) -> bool:
    return bool(line) and set(line) <= set("|-: ")
