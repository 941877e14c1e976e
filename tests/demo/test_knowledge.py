"""The standard library's documentation, as it is here."""

from __future__ import annotations

from deploy.demo.knowledge import DOCUMENT_CHARACTERS, MODULES, documents


def test_nearly_every_module_gives_a_document_of_bounded_size() -> None:
    found = list(documents())
    assert len(found) >= 0.9 * len(MODULES)
    assert all(0 < len(document.content) <= DOCUMENT_CHARACTERS + 200 for document in found)


def test_a_document_describes_the_module_and_its_members_as_markdown() -> None:
    (document,) = documents(("heapq",))
    assert (document.source, document.title) == ("python/heapq", "heapq")
    assert document.content.startswith("# heapq\n\nHeap queue algorithm")
    assert "## heapq.heappush\n\nPush item onto heap" in document.content


def test_a_module_that_this_python_lacks_is_passed_over() -> None:
    assert list(documents(("no_such_module_of_any_python",))) == []
