from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import ChunkAccepted, ChunkEmbedded
from services.retriever.ports import SourceKey, Stored
from services.retriever.stages import ends_source, oversized, source_key, stages, superseded
from tests.embedder.builders import chunk, embedded


def test_a_batch_of_many_sources_is_one_stage() -> None:
    [stage] = stages([embedded(0, 2), embedded(0, 1, source="b"), embedded(1, 2)])

    assert len(stage.writes) == 3
    assert [key[2] for key in stage.ends] == ["b", "guide.md"]


def test_a_new_version_waits_until_the_old_one_has_ended() -> None:
    first, second, third = stages([embedded(version="v1"), embedded(0, 2, version="v2"), embedded(1, 2, version="v2"), embedded(0, 0)])

    assert [each.chunk.version for each in first.writes] == ["v1"]
    assert [each.chunk.version for each in second.writes] == ["v2", "v2"]
    assert third.writes == []
    assert [last.count for last in third.ends.values()] == [0]


chunks = st.builds(
    lambda source, version, at, count: embedded(min(at, max(count - 1, 0)), count, source=source, version=version),
    st.sampled_from("ab"),
    st.sampled_from(["v1", "v2"]),
    st.integers(0, 2),
    st.integers(0, 3),
)


Effect = ChunkEmbedded | ChunkAccepted


@given(st.lists(chunks, max_size=12))
def test_within_a_source_nothing_is_written_after_its_end_in_the_same_stage(batch: list[ChunkEmbedded]) -> None:
    planned: list[Effect] = []
    for stage in stages(batch):
        planned += [*stage.writes, *stage.ends.values()]

    for source in "ab":
        expected = [each for record in batch for each in _effects(record)]
        assert [each for each in planned if _source(each) == source] == [each for each in expected if _source(each) == source]


def _source(each: Effect) -> str:
    return each.chunk.source if isinstance(each, ChunkEmbedded) else each.source


def _effects(record: ChunkEmbedded) -> list[Effect]:
    write: list[Effect] = [record] if record.vector else []
    return [*write, record.chunk] if ends_source(record.chunk) else write


def _stored(*versions: str) -> list[Stored]:
    source = SourceKey("acme", "docs", "guide.md")
    return [Stored("place", f"{version}/{number}", source, version) for number, version in enumerate(versions)]


def test_a_complete_version_replaces_every_other() -> None:
    complete, gone = superseded(chunk(1, 2, version="v2"), _stored("v1", "v2", "v0", "v2"))

    assert complete
    assert [each.version for each in gone] == ["v1", "v0"]


def test_an_incomplete_version_goes_itself_and_the_one_before_stays() -> None:
    complete, gone = superseded(chunk(1, 2, version="v2"), _stored("v1", "v1", "v2"))

    assert not complete
    assert [each.version for each in gone] == ["v2"]


def test_a_removal_takes_all() -> None:
    assert superseded(chunk(0, 0), _stored("v1", "v2")) == (True, _stored("v1", "v2"))


def test_a_text_counts_in_bytes() -> None:
    assert oversized(chunk(text="x" * 4096)) is None
    assert oversized(chunk(text="é" * 2049)) == "text"
    assert oversized(chunk(title="x" * 4097)) == "title"


def test_a_source_is_one_tenant_s_and_one_collection_s() -> None:
    assert source_key(chunk(tenant="a", collection="b", source="c")) == ("a", "b", "c")
