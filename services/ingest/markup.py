"""Bytes to text, HTML to Markdown, and the headings of a Markdown text."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

from bs4 import BeautifulSoup
from markdown_it import MarkdownIt
from markdownify import ATX, MarkdownConverter

from services.ingest.chunks import UnsplittableError

_CONTROL: Final = {code: " " for code in range(32) if chr(code) not in "\t\n\r"}
_CONTROL_BYTES: Final = bytes(_CONTROL)
_MOST_CONTROL: Final = 0.1
_LINE_END: Final = re.compile("\r\n?")
_BLANK: Final = re.compile(r"\s*")
_NO_CONTENT: Final = ("head", "script", "style", "nav", "template", "noscript")
# All block rules that can hide or hold a heading; inline markup is not read.
_BLOCKS: Final = ("heading", "lheading", "fence", "code", "blockquote", "list", "html_block")


class Heading(NamedTuple):
    """`start` is its place in the text, `end` that of what follows it; `level` is 1 to 6."""

    start: int
    end: int
    level: int
    text: str


def text_of(content: bytes) -> str:
    """The text of `content` with line ends as \\n and other control characters as spaces. Raises UnsplittableError."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UnsplittableError("invalid_document", f"content: not UTF-8 at byte {error.start}") from None
    if b"\0" in content:
        raise UnsplittableError("invalid_document", f"content: not text, a NUL at byte {content.index(0)}")
    if len(content) - len(content.translate(None, _CONTROL_BYTES)) > _MOST_CONTROL * len(text):
        raise UnsplittableError("invalid_document", "content: not text, more than a tenth are control characters")
    return _LINE_END.sub("\n", text.translate(_CONTROL))


def markdown_of(html: str) -> tuple[str, str]:
    """The title of a page, or empty, and its content as Markdown. Raises UnsplittableError."""
    try:
        with warnings.catch_warnings():
            # It warns of HTML that looks like an address or like XML; both are fine here.
            warnings.simplefilter("ignore")
            page = BeautifulSoup(html, "html.parser")
        title = " ".join(page.title.get_text().split()) if page.title else ""
        for element in page.find_all(_NO_CONTENT):
            element.decompose()
        # Chunks are embedded and cited, not rendered: escapes would only be noise.
        return title, MarkdownConverter(heading_style=ATX, escape_asterisks=False, escape_underscores=False).convert_soup(page)
    except MemoryError:
        raise
    except RecursionError:
        raise UnsplittableError("invalid_document", "content: HTML nested too deep to be read") from None
    except Exception as error:  # whatever the parsers choke on is the document's fault, not a bug that should stop the service
        raise UnsplittableError("invalid_document", f"content: HTML that cannot be read: {error!r}"[:300]) from error


def headings_of(markdown: str) -> Iterator[Heading]:
    """The headings in order, as CommonMark has them. `markdown` has line ends \\n only."""
    starts = [0]
    for line in markdown.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    tokens = MarkdownIt("zero").enable(_BLOCKS).parse(markdown)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.map:
            first, last = opening.map
            follows = _BLANK.match(markdown, starts[last])
            end = follows.end() if follows else starts[last]
            yield Heading(starts[first], end, int(opening.tag[1:]), " ".join(inline.content.split()))
