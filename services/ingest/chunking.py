"""How a text is cut: along its structure, to a size in tokens, neighbours overlapping.

Cuts follow semantic_text_splitter: headings, then blocks, sentences, words. Sizes are counted by the tokenizer of MiniLM.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Final

from semantic_text_splitter import MarkdownSplitter, TextSplitter
from tokenizers import Tokenizer

from services.ingest.chunks import ChunkRules, Piece, UnsplittableError
from services.ingest.markup import Heading, headings_of, markdown_of, text_of

# To WordPiece a word of more than 100 letters is one unknown token: without a bound in characters, base64 would be one chunk.
_CHARACTERS_PER_TOKEN: Final = 8
_LONGEST_TITLE: Final = 512
_BETWEEN: Final = " \u203a "


class Chunker:
    """Cuts documents by `rules`. `tokenizer` is the file tokenizer.json of the model that sizes are counted for."""

    def __init__(self, rules: ChunkRules, tokenizer: Path) -> None:
        counting = Tokenizer.from_file(str(tokenizer))
        counting.no_truncation()
        counting.no_padding()
        self._most = rules.most
        self._longest = rules.tokens * _CHARACTERS_PER_TOKEN
        self._plain = TextSplitter.from_huggingface_tokenizer(counting, rules.tokens, rules.overlap)
        self._markdown = MarkdownSplitter.from_huggingface_tokenizer(counting, rules.tokens, rules.overlap)
        self._by_length = TextSplitter(self._longest, rules.overlap * _CHARACTERS_PER_TOKEN)

    def cut(self, content: bytes, media_type: str, title: str) -> list[Piece]:
        """The pieces of a document, in order, at least one. Raises UnsplittableError."""
        text = text_of(content)
        headings: Sequence[Heading] = ()
        if media_type == "text/html":
            named, text = markdown_of(text)
            title = title or named
        if not text or text.isspace():
            raise UnsplittableError("invalid_document", "content: no text in it")
        if media_type != "text/plain":
            headings = list(headings_of(text))
        splitter = self._plain if media_type == "text/plain" else self._markdown
        parts = list(chain.from_iterable(map(self._bounded, splitter.chunk_indices(text))))
        pieces = titled(parts, headings, title) or [Piece(part, title) for _, part in parts]
        if len(pieces) > self._most:
            raise UnsplittableError("too_large", f"content: {len(pieces)} chunks; at most {self._most}")
        return pieces

    def _bounded(self, part: tuple[int, str]) -> list[tuple[int, str]]:
        start, text = part
        if len(text) <= self._longest:
            return [part]
        return [(start + offset, piece) for offset, piece in self._by_length.chunk_indices(text)]


def titled(parts: Sequence[tuple[int, str]], headings: Sequence[Heading], title: str) -> list[Piece]:
    """Each part (its place and text, places never falling) under the document's title and the headings over its first line of text.

    A part may begin with headings of its own; they count. One that is nothing but headings is left out: they title what follows.
    """
    pieces: list[Piece] = []
    path: list[Heading] = []
    passed = 0
    body = 0
    for start, text in parts:
        body = max(body, start)
        while passed < len(headings) and headings[passed].start <= body:
            heading = headings[passed]
            path = [*(above for above in path if above.level < heading.level), heading]
            body = heading.end
            passed += 1
        if body < start + len(text):
            pieces.append(Piece(text, _joined(title, [heading.text for heading in path])))
    return pieces


def _joined(title: str, path: Sequence[str]) -> str:
    """At most 512 characters. A document often names itself in its first heading; that is not said twice."""
    if title and path[:1] != [title]:
        path = [title, *path]
    return _BETWEEN.join(filter(None, path))[:_LONGEST_TITLE]
