"""Whatever a document points at is there: pages, headings, tests; and the pages that code points at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from _pytest.mark.structures import ParameterSet

from tests.docs.pages import ROOT, WRITTEN_BY_COMMANDS, dead_links, pages, rows

CODE = (
    "libs/**/*.py",
    "services/**/*.py",
    "deploy/**/*.py",
    "schemas/*.py",
    "schemas/**/*.avsc",
    "schemas/*.yaml",
    "examples/*",
    "Makefile",
)


def linked_pages() -> list[ParameterSet]:
    return [pytest.param(page, id=str(page.relative_to(ROOT))) for page in pages()]


def missing_tests(text: str) -> list[str]:
    """Tests that `text` names and that do not exist."""
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", text)
    return [f"{file}::{test}" for file, test in named if not _is_there(ROOT / file, test)]


def _is_there(file: Path, test: str) -> bool:
    return file.is_file() and (not test or f"def {test}(" in file.read_text())


@pytest.mark.parametrize("page", linked_pages())
def test_every_link_and_every_named_test_is_there(page: Path) -> None:
    text = page.read_text()

    assert dead_links(page, text) == []
    assert missing_tests(text) == []


def test_a_dead_link_a_dead_heading_and_a_test_nobody_wrote_are_found() -> None:
    text = "# Here\n[a](nowhere.md) [b](#here) [c](#there) [d](CHANGELOG.md#unreleased) [e](CHANGELOG.md#gone) [f](https://example.org)\n"

    assert dead_links(ROOT / "README.md", text) == ["nowhere.md", "#there", "CHANGELOG.md#gone"]
    assert missing_tests("`tests/docs/test_links.py::test_nobody_wrote` `tests/gone.py`") == [
        "tests/docs/test_links.py::test_nobody_wrote",
        "tests/gone.py::",
    ]


def test_every_page_that_code_points_at_is_there() -> None:
    files = {path for place in CODE for path in ROOT.glob(place) if path.is_file() and path.suffix != ".pyc"}
    named = {(path, name) for path in files for name in re.findall(r"\bdocs/[\w./-]+\.(?:md|yaml)", path.read_text())}

    assert named
    assert [
        (str(path), name) for path, name in sorted(named) if not (ROOT / name).exists() and ROOT / name not in WRITTEN_BY_COMMANDS
    ] == []


def test_every_decision_is_in_the_list_of_decisions() -> None:
    listed = (ROOT / "docs/adr/README.md").read_text()

    assert [path.name for path in (ROOT / "docs/adr").glob("0*.md") if f"({path.name})" not in listed] == []


def test_every_service_is_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert [
        path.name for path in (ROOT / "services").glob("*/") if path.name != "__pycache__" and f"services/{path.name}/" not in readme
    ] == []


def test_no_promise_is_without_a_test() -> None:
    promised = (ROOT / "docs/guarantees.md").read_text().partition("## What is not promised")[0]

    assert [row[0] for row in rows(promised) if "::" not in row[-1]] == []
