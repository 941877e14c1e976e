"""How texts are cut, with the real tokenizer and the real parsers."""

from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from services.ingest.chunking import Chunker, titled
from services.ingest.chunks import ChunkRules, Piece, UnsplittableError
from services.ingest.markup import headings_of, markdown_of, text_of
from services.ingest.tokenizer_file import find_tokenizer

PROSE = " ".join(f"Sentence number {n} says something about topic {n % 7}." for n in range(400))
TOKENIZER = Tokenizer.from_file(str(find_tokenizer()))
TOKENIZER.no_truncation()
TOKENIZER.no_padding()
CHUNKER = Chunker(ChunkRules(), find_tokenizer())
SMALL = Chunker(ChunkRules(tokens=16, overlap=4, most=1000), find_tokenizer())


def tokens(text: str) -> int:
    return len(TOKENIZER.encode(text, add_special_tokens=False).ids)


def cut(text: str, media_type: str = "text/plain", title: str = "") -> list[Piece]:
    return CHUNKER.cut(text.encode(), media_type, title)


def test_a_short_text_is_one_chunk() -> None:
    assert cut("Hello.", title="T") == [Piece("Hello.", "T")]


def test_no_chunk_has_more_tokens_than_the_rule_says_and_neighbours_overlap() -> None:
    pieces = cut(PROSE)
    assert len(pieces) > 10
    assert max(tokens(piece.text) for piece in pieces) <= 200
    for piece, following in pairwise(pieces):
        assert following.text.split(". ")[0] in piece.text


def test_no_word_is_lost() -> None:
    assert {word for piece in cut(PROSE) for word in piece.text.split()} == set(PROSE.split())


@settings(deadline=None, max_examples=50)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=600), st.sampled_from(["text/plain", "text/markdown"]))
def test_every_chunk_of_any_text_keeps_the_bounds_and_comes_from_it(text: str, media_type: str) -> None:
    if text.isspace():
        return
    for piece in SMALL.cut(text.encode(), media_type, ""):
        assert piece.text
        assert piece.text in text
        assert tokens(piece.text) <= 16
        assert len(piece.text) <= 16 * 8


def test_a_word_without_end_is_cut_by_its_length() -> None:
    pieces = cut("x" * 10_000)
    assert len(pieces) > 5
    assert max(len(piece.text) for piece in pieces) == 1600


def test_more_chunks_than_the_limit_are_too_large() -> None:
    with pytest.raises(UnsplittableError) as caught:
        Chunker(ChunkRules(most=5), find_tokenizer()).cut(PROSE.encode(), "text/plain", "")
    assert caught.value.reason == "too_large"
    assert caught.value.detail.endswith("at most 5")


MARKDOWN = f"""# Manual

Introduction. {PROSE[:900]}

## Install

```
# not a heading
```

{PROSE[:900]}

Use
---

### Daily *use*

{PROSE[:900]}
"""


def test_markdown_chunks_are_titled_with_the_headings_above_them() -> None:
    found = list(dict.fromkeys(piece.title for piece in cut(MARKDOWN, "text/markdown", "Docs")))
    assert found == ["Docs \u203a Manual", "Docs \u203a Manual \u203a Install", "Docs \u203a Manual \u203a Use \u203a Daily *use*"]


def test_a_document_titled_as_its_first_heading_is_not_named_twice() -> None:
    assert cut("# Manual\n\nText", "text/markdown", "Manual")[0].title == "Manual"


def test_a_chunk_of_headings_only_is_left_out_for_they_title_what_follows() -> None:
    text = "# A\n\n## B\n\ntext"
    pieces = titled([(0, "# A"), (5, "## B"), (11, "text")], list(headings_of(text)), "")
    assert pieces == [Piece("text", "A \u203a B")]


def test_a_document_of_headings_only_keeps_them() -> None:
    assert cut("# A\n\n# B", "text/markdown", "T") == [Piece("# A\n\n# B", "T")]


def test_a_title_is_bounded_however_long_the_heading() -> None:
    assert len(cut(f"# {'long ' * 500}\n\nText", "text/markdown")[-1].title) == 512


def test_html_becomes_markdown_without_scripts_styles_and_menus() -> None:
    page = """<html><head><title>My
      page</title><style>p {color: red}</style></head><body><nav>Menu</nav><h1>One</h1><script>evil()</script>
      <p>Hello <b>wide</b> world_of_names<ul><li>a<li>b</ul></body>"""
    [piece] = cut(page, "text/html")
    assert piece.title == "My page \u203a One"
    assert "Hello **wide** world_of_names" in piece.text
    assert not any(word in piece.text for word in ("Menu", "evil", "color", "My page"))


@pytest.mark.parametrize("html", ["<div>" * 5000, "<b>a" * 5000])
def test_html_nested_without_end_is_refused(html: str) -> None:
    with pytest.raises(UnsplittableError, match="nested too deep"):
        markdown_of(html)


@pytest.mark.parametrize("html", ["<![", "<!--", "<a " * 100, "&#99999999999999;", "</p>" * 100, "]]>", "<table><tr><td colspan=-7>x"])
def test_broken_html_is_read_as_well_as_it_can_be_or_refused(html: str) -> None:
    with suppress(UnsplittableError):
        markdown_of(html)


JUNK: list[tuple[str, bytes, str]] = [
    ("a picture", b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "not UTF-8 at byte 0"),
    ("a NUL", b"text\0text", "a NUL at byte 4"),
    ("control characters", b"\x01\x02abcdefgh", "more than a tenth"),
    ("nothing", b"", "no text"),
    ("blanks", b" \n\t ", "no text"),
    ("a byte order mark only", b"\xef\xbb\xbf", "no text"),
    ("half a letter", "ä".encode()[:1], "not UTF-8 at byte 0"),
]


@pytest.mark.parametrize("media_type", ["text/plain", "text/markdown", "text/html"])
@pytest.mark.parametrize(("content", "says"), [pytest.param(content, says, id=name) for name, content, says in JUNK])
def test_junk_is_no_document(content: bytes, says: str, media_type: str) -> None:
    with pytest.raises(UnsplittableError, match=says) as caught:
        CHUNKER.cut(content, media_type, "")
    assert caught.value.reason == "invalid_document"


def test_a_page_without_words_is_no_document() -> None:
    with pytest.raises(UnsplittableError, match="no text"):
        cut("<html><body><script>x()</script></body></html>", "text/html")


def test_text_has_line_ends_of_one_kind_and_the_odd_control_character_as_a_space() -> None:
    assert text_of(b"\xef\xbb\xbfone\r\ntwo\rthree\x0cfour, and so on") == "one\ntwo\nthree four, and so on"


def test_headings_are_where_they_are_said_to_be() -> None:
    for heading in headings_of(MARKDOWN):
        assert MARKDOWN[heading.start :].lstrip("# ").startswith(heading.text)
        assert not MARKDOWN[heading.end].isspace()


def test_the_tokenizer_is_found_without_importing_its_package() -> None:
    assert find_tokenizer().name == "tokenizer.json"
