import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from daytwo.errors import RetryableError, TerminalError
from daytwo.flow import Output
from daytwo.records import ChunkEmbedded, DocumentFinished, Grounding, Passage, RequestFinished, RequestGrounded, RequestMissed
from daytwo.topics import CHUNK_EMBEDDED, REQUEST_MISSED
from services.retriever.ports import Hit, Scope, Space
from services.retriever.service import service
from services.retriever.settings import Settings
from tests.embedder.builders import NOW, chunk, context, embedded, missed, vector
from tests.retriever.fake_index import FakeIndex

DOCS = Grounding(collection="docs")


class Retriever:
    def __init__(self, index: FakeIndex | None = None) -> None:
        self.index = index or FakeIndex()
        self.service = service(self.index)

    async def ground(self, record: RequestMissed) -> RequestGrounded:
        handle = self.service.inputs[0].handle
        assert handle is not None
        [out] = await handle(record, context("retriever"))
        assert isinstance(out, RequestGrounded)
        return out

    async def store(self, *batch: ChunkEmbedded) -> Sequence[Sequence[Output]]:
        handle = self.service.inputs[1].handle_batch
        assert handle is not None
        return await handle([(each, context("retriever")) for each in batch])

    async def found(self, **fields: Any) -> list[str]:
        out = await self.ground(missed(at=vector(1.0), **({"grounding": replace(DOCS, top_k=50)} | fields)))
        return [passage.text for passage in out.passages]


def finished(outs: Sequence[Output]) -> tuple[str, str, str, int]:
    [out] = outs
    assert isinstance(out, DocumentFinished)
    return out.outcome, out.reason, out.version, out.chunks


async def test_a_request_without_grounding_passes_through_without_a_search() -> None:
    retriever = Retriever()

    out = await retriever.ground(missed(at=vector(1.0)))

    assert (out.passages, out.question, out.fingerprint, [step.step for step in out.steps]) == ((), "q" * 32, "f" * 32, ["retriever"])
    assert retriever.index.calls == []


async def test_a_request_gets_the_nearest_passages_best_first() -> None:
    retriever = Retriever()
    await retriever.store(embedded(0, 3, at=vector(0.0, 1.0)), embedded(1, 3, at=vector(1.0, 1.0)), embedded(2, 3, at=vector(1.0)))

    out = await retriever.ground(missed(at=vector(1.0), grounding=replace(DOCS, top_k=2)))

    assert [(passage.text, round(passage.score, 3)) for passage in out.passages] == [("text 2 of v1", 1.0), ("text 1 of v1", 0.707)]


async def test_a_vector_of_a_model_or_version_nothing_was_stored_with_finds_nothing() -> None:
    retriever = Retriever()
    await retriever.store(embedded())

    assert (await retriever.ground(missed(at=vector(1.0, model="other"), grounding=DOCS))).passages == ()
    assert (await retriever.ground(missed(at=vector(1.0, version="2"), grounding=DOCS))).passages == ()
    assert (await retriever.ground(missed(at=None, grounding=DOCS))).passages == ()


async def test_searches_that_look_in_the_same_place_are_one_call() -> None:
    retriever = Retriever()
    await retriever.store(embedded(), embedded(tenant="beta"))
    retriever.index.calls.clear()

    records = [
        *[missed(at=vector(1.0, number), grounding=DOCS) for number in range(5)],
        missed(at=vector(1.0), grounding=replace(DOCS, top_k=1)),
        *[missed(at=vector(1.0), grounding=DOCS, tenant="beta") for _ in range(2)],
    ]
    outs = await asyncio.gather(*(retriever.ground(record) for record in records))

    assert sorted(retriever.index.calls) == [("search", 1), ("search", 2), ("search", 5)]
    assert [round(out.passages[0].score, 2) for out in outs] == [1.0, 0.71, 0.45, 0.32, 0.24, 1.0, 1.0, 1.0]
    assert [out.passages[0].chunk_id.split("/")[0] for out in outs] == ["acme"] * 6 + ["beta"] * 2


async def test_a_search_that_fails_does_not_take_others_with_it() -> None:
    class Failing(FakeIndex):
        async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
            if scope.tenant == "beta":
                raise RetryableError("store_unavailable")
            return await super().search(space, scope, top_k, vectors)

    retriever = Retriever(Failing())
    await retriever.store(embedded())
    records = [missed(at=vector(1.0), grounding=DOCS, tenant=tenant) for tenant in ("beta", "acme")]

    failed, out = await asyncio.gather(*(retriever.ground(record) for record in records), return_exceptions=True)

    assert isinstance(failed, RetryableError)
    assert isinstance(out, RequestGrounded)
    assert len(out.passages) == 1


async def test_a_passage_of_another_tenant_is_a_bug_and_never_goes_on() -> None:
    class Leaking(FakeIndex):
        async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
            return [[Hit("beta", Passage(chunk_id="x", source="s", text="secret", score=1.0))] for _ in vectors]

    with pytest.raises(RuntimeError, match="of another tenant than acme"):
        await Retriever(Leaking()).ground(missed(at=vector(1.0), grounding=DOCS))


async def test_a_document_is_indexed_with_its_last_chunk_and_found_by_the_next_request() -> None:
    retriever = Retriever()

    first, last = await retriever.store(embedded(0, 2), embedded(1, 2))

    assert first == []
    assert finished(last) == ("indexed", "ok", "v1", 2)
    assert sorted(await retriever.found()) == ["text 0 of v1", "text 1 of v1"]


async def test_a_new_version_replaces_the_old_even_in_one_batch() -> None:
    retriever = Retriever()
    v1 = [embedded(index, 3) for index in range(3)]
    v2 = [embedded(index, 2, version="v2") for index in range(2)]

    outs = await retriever.store(*v1, *v2)

    assert [finished(out)[2:] for out in outs if out] == [("v1", 3), ("v2", 2)]
    assert sorted(await retriever.found()) == ["text 0 of v2", "text 1 of v2"]


async def test_the_same_document_again_changes_nothing_and_ends_the_same() -> None:
    retriever = Retriever()
    batch = [embedded(0, 2), embedded(1, 2)]
    first = await retriever.store(*batch)
    rows = dict(retriever.index.rows)

    again = await retriever.store(*batch)

    assert again == first
    assert retriever.index.rows == rows


async def test_a_version_replaces_what_another_model_embedded() -> None:
    retriever = Retriever()
    await retriever.store(embedded(at=vector(1.0, model="old")))
    await retriever.store(embedded(version="v2"))

    assert [row.chunk.version for row in retriever.index.rows.values()] == ["v2"]


async def test_a_removal_takes_the_source_of_this_tenant_and_collection_only() -> None:
    retriever = Retriever()
    await retriever.store(embedded(), embedded(source="other"), embedded(tenant="beta"), embedded(source="x", collection="c2"))

    [out] = await retriever.store(embedded(0, 0))

    assert finished(out) == ("removed", "ok", "", 0)
    assert sorted(key[1] for key in retriever.index.rows) == ["acme/other/v1/0", "acme/x/v1/0", "beta/guide.md/v1/0"]


async def test_a_removal_of_what_was_never_there_is_done() -> None:
    assert finished((await Retriever().store(embedded(0, 0)))[0]) == ("removed", "ok", "", 0)


async def test_a_version_with_a_refused_chunk_is_not_served_and_the_one_before_still_is() -> None:
    retriever = Retriever()
    await retriever.store(embedded(version="v1"))

    without_vector = replace(embedded(0, 2, version="v2"), vector=None)
    first, last = await retriever.store(without_vector, embedded(1, 2, version="v2"))

    assert first == []
    assert finished(last) == ("failed", "incomplete_document", "", 0)
    assert await retriever.found() == ["text 0 of v1"]


@pytest.mark.parametrize("place", [0, 1])
async def test_a_chunk_of_more_than_4096_bytes_is_refused_with_its_version(place: int) -> None:
    retriever = Retriever()
    texts = ["short", "short"]
    texts[place] = "é" * 2049

    outs = await retriever.store(*[embedded(index, 2, text=text) for index, text in enumerate(texts)])

    refused = outs[place][0]
    assert isinstance(refused, DocumentFinished)
    assert (refused.outcome, refused.reason) == ("refused", "text_too_long")
    assert refused.detail == f"chunk {place}: text has more than 4096 bytes"
    assert await retriever.found() == []


async def test_a_vector_that_is_not_what_it_says_is_a_terminal_error() -> None:
    with pytest.raises(TerminalError, match="16 bytes cannot have dimension 5"):
        await Retriever().store(embedded(at=replace(vector(1.0), dimension=5)))


async def test_the_writes_of_a_batch_are_one_call_and_its_ends_are_one_question() -> None:
    retriever = Retriever()

    await retriever.store(*[embedded(source=f"s{number}") for number in range(20)], embedded(tenant="beta"))

    assert retriever.index.calls == [("upsert", 21), ("stored", 21)]


async def test_a_store_that_is_away_leaves_a_batch_to_be_tried_again() -> None:
    retriever = Retriever()
    retriever.index.fail_next = RetryableError("store_unavailable")

    with pytest.raises(RetryableError):
        await retriever.store(embedded())

    assert finished((await retriever.store(embedded()))[0]) == ("indexed", "ok", "v1", 1)


def test_whatever_stops_a_record_it_has_its_end() -> None:
    requests, chunks = Retriever().service.inputs

    [request] = requests.ending(missed(), context("retriever"), RetryableError("store_unavailable", "Milvus"))
    [document] = chunks.ending(embedded(), context("retriever"), TerminalError("internal_error"))

    assert isinstance(request, RequestFinished)
    assert (request.outcome, request.reason, request.question, request.fingerprint) == ("failed", "store_unavailable", "q" * 32, "f" * 32)
    assert isinstance(document, DocumentFinished)
    assert (document.outcome, document.reason, document.finished_at_ms) == ("failed", "internal_error", NOW)
    assert document.document_id == chunk().document_id


def test_the_service_is_what_its_topics_say() -> None:
    built = Retriever().service

    assert [source.topic for source in built.inputs] == [REQUEST_MISSED, CHUNK_EMBEDDED]
    assert all(built.name in source.topic.readers for source in built.inputs)
    deadline = built.inputs[0].deadline_ms
    assert deadline is not None
    assert deadline(missed()) == NOW + 60_000


def test_settings_have_defaults_and_are_read() -> None:
    assert Settings.from_env({}) == Settings()
    env = {
        "DAYTWO_MILVUS": "http://milvus:19530",
        "DAYTWO_MILVUS_TOKEN": "root:secret",
        "DAYTWO_MILVUS_TIMEOUT_S": "1.5",
        "DAYTWO_MILVUS_INDEX": "HNSW",
        "DAYTWO_MILVUS_CONSISTENCY": "Bounded",
        "DAYTWO_MILVUS_FLUSH_ROWS": "0",
        "DAYTWO_MILVUS_FLUSH_S": "9",
        "DAYTWO_MILVUS_SEARCHES": "8",
    }
    assert Settings.from_env(env) == Settings(
        uri="http://milvus:19530",
        token="root:secret",
        timeout_s=1.5,
        index="HNSW",
        consistency="Bounded",
        flush_rows=0,
        flush_s=9.0,
        searches=8,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAYTWO_MILVUS_TIMEOUT_S", "0"),
        ("DAYTWO_MILVUS_TIMEOUT_S", "nan"),
        ("DAYTWO_MILVUS_TIMEOUT_S", "soon"),
        ("DAYTWO_MILVUS_INDEX", "IVF"),
        ("DAYTWO_MILVUS_CONSISTENCY", "strong"),
        ("DAYTWO_MILVUS_FLUSH_ROWS", "-1"),
        ("DAYTWO_MILVUS_SEARCHES", "0"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_env({name: value})
