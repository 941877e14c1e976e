"""What every index must do: the fake that the tests of the service trust, and the real Milvus."""

import itertools
import os
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from daytwo.clock import SystemClock
from daytwo.records import Vector
from services.retriever.milvus_index import MilvusIndex
from services.retriever.ports import Hit, Index, Scope, SourceKey, Space
from services.retriever.settings import Settings
from tests.embedder.builders import embedded, vector
from tests.retriever.fake_index import FakeIndex

NAMES = ["acme", 'a" or tenant != "', "back\\slash", "it's", "new\nline\ttab", "日本 🙂", "{x}", "%", "' or 1 == 1", "$meta", "\x07"]


@pytest.fixture(params=["fake", pytest.param("milvus", marks=pytest.mark.stack)])
async def index(request: pytest.FixtureRequest) -> AsyncIterator[Index]:
    opened: Index = FakeIndex() if request.param == "fake" else _milvus()
    await opened.open()
    yield opened
    await opened.close()


def _milvus() -> MilvusIndex:
    return MilvusIndex(Settings(uri=os.environ["DAYTWO_MILVUS"], flush_rows=50, flush_s=0.2), SystemClock())


@pytest.fixture
def model() -> str:
    """One space for all tests: Milvus Lite cannot drop a collection safely while it builds an index in the background."""
    return "test"


@pytest.fixture
def tenant() -> str:
    """A tenant of its own for each test."""
    return f"t-{uuid.uuid4().hex}"


def _texts(found: Sequence[Sequence[Hit]]) -> list[list[str]]:
    return [[hit.passage.text for hit in hits] for hits in found]


def _place(at: Vector) -> Space:
    return Space.of(at)


async def test_what_was_written_is_found_at_once_nearest_first(index: Index, model: str, tenant: str) -> None:
    near, far = vector(1.0, model=model), vector(1.0, 2.0, model=model)
    scope = Scope(tenant=tenant, collection="docs")
    await index.upsert([embedded(0, 2, at=far, tenant=tenant), embedded(1, 2, at=near, tenant=tenant, title="T", category="k")])

    [hits, turned] = await index.search(_place(near), scope, 5, [near.values, far.values])

    assert [hit.passage.text for hit in hits] == ["text 1 of v1", "text 0 of v1"]
    assert [hit.passage.text for hit in turned] == ["text 0 of v1", "text 1 of v1"]
    best = hits[0]
    assert (best.tenant, best.passage.source, best.passage.title, best.passage.category) == (tenant, "guide.md", "T", "k")
    assert best.passage.chunk_id == f"{tenant}/guide.md/v1/1"
    assert [hit.passage.score for hit in hits] == pytest.approx([1.0, 0.4472136], abs=1e-5)


async def test_a_space_nothing_was_written_to_has_nothing(index: Index, tenant: str) -> None:
    at = vector(1.0, model="never")

    found = await index.search(_place(at), Scope(tenant=tenant, collection="docs"), 5, [at.values] * 2)

    assert [list(hits) for hits in found] == [[], []]


async def test_writing_again_changes_nothing_and_writing_otherwise_replaces(index: Index, model: str, tenant: str) -> None:
    at = vector(1.0, model=model)
    scope = Scope(tenant=tenant, collection="docs")
    for text in ("one", "one", "two"):
        await index.upsert([embedded(at=at, tenant=tenant, text=text)])

    assert _texts(await index.search(_place(at), scope, 5, [at.values])) == [["two"]]
    assert len(await index.stored([SourceKey(tenant, "docs", "guide.md")])) == 1


async def test_every_filter_is_exact(index: Index, model: str, tenant: str) -> None:
    at = vector(1.0, model=model)
    await index.upsert(
        [
            embedded(at=at, tenant=tenant, source=f"s{number}", category=f"k{number % 3}", published_at_ms=number * 1000, text=f"{number}")
            for number in range(9)
        ]
        + [embedded(at=at, tenant=tenant, collection="other", source="other"), embedded(at=at, tenant=f"{tenant}x", source="s1")]
    )

    async def found(**filters: Any) -> list[str]:
        scope = Scope(tenant=tenant, collection="docs", **filters)
        [hits] = await index.search(_place(at), scope, 50, [at.values])
        return sorted(hit.passage.text for hit in hits)

    assert await found() == [str(number) for number in range(9)]
    assert await found(sources=("s1", "s4", "nope")) == ["1", "4"]
    assert await found(categories=("k0", "k2")) == ["0", "2", "3", "5", "6", "8"]
    assert await found(after_ms=3000, before_ms=6000) == ["3", "4", "5"]
    assert await found(sources=("s4", "s5"), categories=("k2",), after_ms=1) == ["5"]
    assert await found(before_ms=0) == []


@pytest.mark.parametrize("name", NAMES)
async def test_no_name_reaches_beyond_itself(index: Index, model: str, name: str, tenant: str) -> None:
    at = vector(1.0, model=model)
    mine: dict[str, Any] = {"tenant": name, "collection": f"{name}{tenant}", "source": name, "category": name}
    await index.upsert([embedded(at=at, **mine, text="mine", chunk_id=f"{tenant}-1")])
    await index.upsert([embedded(at=at, tenant=tenant, collection=mine["collection"], text="theirs", chunk_id=f"{tenant}-2")])
    scope = Scope(tenant=name, collection=mine["collection"], sources=(name,), categories=(name,))

    assert _texts(await index.search(_place(at), scope, 5, [at.values])) == [["mine"]]
    key = SourceKey(name, mine["collection"], name)
    stored = await index.stored([key])
    assert [each.chunk_id for each in stored] == [f"{tenant}-1"]

    await index.delete(stored)
    assert await index.stored([key]) == []
    assert len(await index.stored([SourceKey(tenant, mine["collection"], "guide.md")])) == 1


async def test_what_is_deleted_is_gone_in_every_space_and_only_that(index: Index, model: str, tenant: str) -> None:
    old, new = vector(1.0, model=model), vector(1.0, 0.0, model=f"{model}-new", dimension=5)
    await index.upsert([embedded(at=old, tenant=tenant), embedded(at=new, tenant=tenant), embedded(at=old, tenant=tenant, source="other")])

    stored = await index.stored([SourceKey(tenant, "docs", "guide.md")])
    assert len(stored) == 2
    assert {(each.source.source, each.version) for each in stored} == {("guide.md", "v1")}
    await index.delete(stored)

    scope = Scope(tenant=tenant, collection="docs")
    assert _texts(await index.search(_place(new), scope, 5, [new.values])) == [[]]
    assert _texts(await index.search(_place(old), scope, 5, [old.values])) == [["text 0 of v1"]]
    both = [SourceKey(tenant, "docs", source) for source in ("guide.md", "other")]
    assert [each.source.source for each in await index.stored(both)] == ["other"]


async def test_sources_are_asked_for_together_and_never_mixed_up(index: Index, model: str, tenant: str) -> None:
    at = vector(1.0, model=model)
    places = list(itertools.product((f"{tenant}1", f"{tenant}2"), "xy", "ab"))
    rows = [embedded(at=at, tenant=t, collection=c, source=s, chunk_id=f"{t}{c}{s}") for t, c, s in places]
    await index.upsert(rows)
    wanted = [SourceKey(f"{tenant}1", "x", "a"), SourceKey(f"{tenant}2", "y", "b")]

    assert {each.source for each in await index.stored(wanted)} == set(wanted)


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1_000_000))
async def test_a_selective_filter_loses_no_neighbour(index: Index, model: str, tenant: str, seed: int) -> None:
    """A graph index that filters while it walks finds fewer than there are."""
    rng = np.random.default_rng(seed)
    at = [vector(*rng.normal(size=16), model=model, dimension=16) for _ in range(60)]
    await index.upsert([embedded(at=each, tenant=f"{tenant}{seed}", source=f"s{place}", text=f"{place}") for place, each in enumerate(at)])
    some = tuple(f"s{place}" for place in rng.choice(60, 4, replace=False))
    query = vector(*rng.normal(size=16), model=model, dimension=16)

    [hits] = await index.search(_place(query), Scope(tenant=f"{tenant}{seed}", collection="docs", sources=some), 5, [query.values])

    assert {hit.passage.source for hit in hits} == set(some)
    scores = {f"s{place}": float(np.frombuffer(each.values, "<f4") @ np.frombuffer(query.values, "<f4")) for place, each in enumerate(at)}
    assert [hit.passage.source for hit in hits] == sorted(some, key=lambda source: -scores[source])
