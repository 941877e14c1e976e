"""What becomes of a submitted document, through the service's handler."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from daytwo.codec import encode
from daytwo.errors import RetryableError, TerminalError, UnreadableError
from daytwo.records import ChunkAccepted, DocumentFinished, DocumentSubmitted
from daytwo.topics import CHUNK_ACCEPTED, DOCUMENT_FINISHED, DOCUMENT_SUBMITTED
from services.ingest.chunks import ChunkRules, version_of
from services.ingest.settings import Settings
from tests.ingest.builders import NOW_MS, SIGNING, BrokenSplitter, Ingest, LineSplitter, context, document, tenant


async def chunks(ingest: Ingest, record: DocumentSubmitted) -> list[ChunkAccepted]:
    outputs = await ingest.submit(record)
    return [output for output in outputs if isinstance(output, ChunkAccepted)]


async def refused(ingest: Ingest, record: DocumentSubmitted, headers: dict[str, bytes] | None = None) -> DocumentFinished:
    [output] = await ingest.submit(record, headers)
    assert isinstance(output, DocumentFinished), output
    assert (output.outcome, output.finished_at_ms) == ("refused", NOW_MS)
    return output


async def test_a_document_becomes_its_chunks_in_order() -> None:
    first, second = await chunks(Ingest(), document(title="T", category="c", published_at_ms=5, metadata={"a": "b"}))
    assert [(first.index, first.count, first.text), (second.index, second.count, second.text)] == [(0, 2, "one"), (1, 2, "two")]
    assert (first.document_id, first.tenant, first.collection, first.source) == ("d-1", "acme", "kb", "a/b.md")
    assert (first.title, first.category, first.published_at_ms, first.metadata) == ("T", "c", 5, {"a": "b"})
    assert first.chunk_id != second.chunk_id
    assert first.version == second.version


async def test_the_same_document_again_gives_the_same_bytes() -> None:
    first, again = await chunks(Ingest(), document()), await chunks(Ingest(), document())
    assert [encode(CHUNK_ACCEPTED, chunk) for chunk in first] == [encode(CHUNK_ACCEPTED, chunk) for chunk in again]


CHANGES: list[dict[str, Any]] = [
    {"content": b"one\ntwo!"}, {"title": "T"}, {"category": "c"}, {"published_at_ms": 1}, {"media_type": "text/markdown"},
]  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
async def test_a_changed_document_is_another_version_with_other_chunks(change: dict[str, Any]) -> None:
    [old, *_], [new, *_] = await chunks(Ingest(), document()), await chunks(Ingest(), document(**change))
    assert old.version != new.version
    assert old.chunk_id != new.chunk_id


@pytest.mark.parametrize("place", [{"tenant": "acme2"}, {"collection": "other"}, {"source": "other"}])
async def test_equal_content_in_another_place_has_chunks_of_its_own(place: dict[str, str]) -> None:
    ingest = Ingest(tenant(), tenant(tenant="acme2"))
    [here, *_], [there, *_] = await chunks(ingest, document()), await chunks(ingest, document(**place))
    assert here.version == there.version
    assert here.chunk_id != there.chunk_id


def test_other_chunk_rules_make_another_version() -> None:
    assert version_of(document(), ChunkRules()) != version_of(document(), ChunkRules(tokens=100))


def test_who_sent_a_version_and_why_is_not_part_of_it() -> None:
    assert version_of(document(), ChunkRules()) == version_of(document(document_id="d-2", metadata={"a": "b"}), ChunkRules())


async def test_a_removal_is_one_record_that_says_so() -> None:
    [removal] = await chunks(Ingest(), document(content=None, title="T"))
    assert (removal.count, removal.index, removal.text, removal.chunk_id, removal.version) == (0, 0, "", "", "")
    assert (removal.document_id, removal.source, removal.collection) == ("d-1", "a/b.md", "kb")


async def test_what_the_splitter_cannot_split_is_refused() -> None:
    result = await refused(Ingest(), document(content=b"", metadata={"a": "b"}))
    assert (result.reason, result.detail, result.metadata) == ("invalid_document", "content: no text in it", {"a": "b"})


async def test_a_splitter_that_is_not_there_leaves_the_document_for_later() -> None:
    with pytest.raises(RetryableError):
        await Ingest(splitter=BrokenSplitter()).submit(document())


async def test_a_document_larger_than_the_limit_is_refused() -> None:
    result = await refused(Ingest(settings=Settings(max_document_bytes=100)), document(content=b"x" * 100))
    assert result.reason == "too_large"


async def test_a_document_of_an_unknown_tenant_is_refused() -> None:
    assert (await refused(Ingest(), document(tenant="nobody"))).reason == "unknown_tenant"


async def test_a_removal_by_someone_who_does_not_sign_is_refused() -> None:
    assert (await refused(Ingest(SIGNING), document(content=None), {})).reason == "missing_signature"


async def test_the_refusal_of_a_monstrous_identity_is_itself_a_proper_record() -> None:
    monster = document(document_id="d\x00" + "x" * 10_000, source="s\n" * 10_000, collection="c" * 10_000, metadata={"k" * 100: ""})
    result = await refused(Ingest(), monster)
    assert (result.reason, result.detail) == ("invalid_document", "document_id: control character U+0000")
    assert (len(result.document_id), len(result.source), len(result.collection), result.metadata) == (128, 512, 128, {})
    assert len(encode(DOCUMENT_FINISHED, result)) < 2500


ENDINGS: list[tuple[Any, str]] = [
    (UnreadableError("unreadable", "trailing bytes"), "refused"),
    (RetryableError("store_unavailable", "no"), "failed"),
    (TerminalError("poison_record", "no"), "failed"),
]


@pytest.mark.parametrize(("error", "outcome"), ENDINGS)
def test_a_document_that_cannot_be_handled_ends_with_its_reason(error: Any, outcome: str) -> None:
    bad = replace(document(), document_id="\x01")
    [result] = Ingest().input(DOCUMENT_SUBMITTED.name).ending(bad, context(b""), error)
    assert isinstance(result, DocumentFinished)
    assert (result.document_id, result.outcome, result.reason, result.detail) == ("\ufffd", outcome, error.reason, error.detail)


async def test_the_splitter_ends_with_the_service() -> None:
    splitter = LineSplitter()
    await Ingest(splitter=splitter).service.stop()
    assert splitter.closed
