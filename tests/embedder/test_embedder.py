from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from daytwo.errors import RetryableError, TerminalError
from daytwo.flow import BatchHandler, Change, Input, Output, Table
from daytwo.question import question_key
from daytwo.records import (
    CachePolicy,
    ChunkAccepted,
    ChunkEmbedded,
    DocumentFinished,
    Grounding,
    Message,
    RequestAdmitted,
    RequestEmbedded,
    RequestFinished,
    TenantConfigured,
    Tool,
)
from daytwo.topics import CHUNK_ACCEPTED, REQUEST_ADMITTED, TENANT_CONFIGURED
from daytwo.world import World
from services.embedder.build import build
from services.embedder.models import Models
from services.embedder.need import needs_vector
from services.embedder.service import service
from services.embedder.settings import Settings
from tests.embedder.builders import NOW, admission, admitted, chunk, context, request, tenant, user
from tests.embedder.toy_model import ToyModel

GROUNDED = Grounding(collection="docs")


class Embedder:
    """The service on toy models, with its tenants."""

    def __init__(self, *tenants: TenantConfigured) -> None:
        self.models = {name: ToyModel(name) for name in ("wordllama-256", "minilm-int8")}
        self.tenants = Table(TENANT_CONFIGURED)
        self.tenants.rows = {each.tenant: each for each in tenants or (tenant(),)}
        models = Models({name: partial(self.models.__getitem__, name) for name in self.models}, max_windows=4)
        self.service = service(models.vectors, tenants=self.tenants, start=_nothing, stop=_nothing)

    async def requests(self, *batch: RequestAdmitted) -> Sequence[Sequence[Output]]:
        return await _handler(self.service.inputs[0])([(each, context()) for each in batch])

    async def chunks(self, *batch: ChunkAccepted) -> Sequence[Sequence[Output]]:
        return await _handler(self.service.inputs[1])([(each, context()) for each in batch])


async def _nothing() -> None:
    return None


def _handler(source: Input[Any]) -> BatchHandler[Any]:
    assert source.handle_batch is not None
    return source.handle_batch


async def test_a_request_goes_on_with_its_question_its_vector_and_the_time_it_took() -> None:
    [[out]] = await Embedder().requests(admitted())

    assert isinstance(out, RequestEmbedded)
    assert out.question == question_key(out.request)
    assert out.vector is not None
    assert (out.vector.model, len(out.vector.values)) == ("wordllama-256", 32)
    assert [(step.step, step.queued_ms, step.executing_ms) for step in out.steps] == [("embedder", 5.0, 2.0)]
    assert (out.fingerprint, out.admission) == ("f" * 32, admission())


async def test_each_tenant_has_the_model_it_chose_and_a_batch_is_one_call_of_each_model() -> None:
    embedder = Embedder(tenant("acme"), tenant("beta", embedding_model="minilm-int8"))

    outs = await embedder.requests(
        admitted(user("one")), admitted(user("two"), tenant="beta"), admitted(user("three")), admitted(user("one"))
    )

    assert [out.vector and out.vector.model for [out] in outs if isinstance(out, RequestEmbedded)] == [
        "wordllama-256",
        "minilm-int8",
        "wordllama-256",
        "wordllama-256",
    ]
    assert embedder.models["wordllama-256"].asked == [["one", "three"]]
    assert embedder.models["minilm-int8"].asked == [["two"]]


OFF = CachePolicy(enabled=False)
EXACT_ONLY = CachePolicy(threshold=1.01)


@pytest.mark.parametrize(
    ("changes", "policy", "needed"),
    [
        ({}, CachePolicy(), True),
        ({"cache": "refresh"}, CachePolicy(), True),
        ({"cache": "off"}, CachePolicy(), False),
        ({}, OFF, False),
        ({}, EXACT_ONLY, False),
        ({}, CachePolicy(threshold=1.0), True),
        ({"tools": (Tool(name="f"),)}, CachePolicy(), False),
        ({"messages": (user("a"), Message(role="assistant", content="b"), user("c"))}, CachePolicy(), False),
        ({"grounding": GROUNDED, "cache": "off"}, OFF, True),
        ({"grounding": GROUNDED, "tools": (Tool(name="f"),)}, EXACT_ONLY, True),
    ],
)
def test_a_vector_is_made_only_where_something_needs_it(changes: dict[str, Any], policy: CachePolicy, needed: bool) -> None:
    messages = changes.pop("messages", ())

    assert needs_vector(request(*messages, **changes), admission(), policy) is needed


def test_what_may_only_come_from_the_cache_is_not_embedded_for_grounding() -> None:
    assert not needs_vector(request(grounding=GROUNDED, cache="off"), admission(cache_only=True), CachePolicy())
    assert needs_vector(request(grounding=GROUNDED), admission(cache_only=True), CachePolicy())


async def test_a_request_without_need_or_without_text_has_no_vector_but_its_question() -> None:
    embedder = Embedder()

    outs = await embedder.requests(admitted(cache="off"), admitted(Message(role="tool", content="5"), grounding=GROUNDED))

    assert [(out.vector, len(out.question)) for [out] in outs if isinstance(out, RequestEmbedded)] == [(None, 32), (None, 32)]
    assert embedder.models["wordllama-256"].asked == []


async def test_what_goes_straight_to_the_router_is_not_the_embedders_even_without_the_header_that_says_so() -> None:
    embedder = Embedder()
    straight = replace(admitted(cache="off"), admission=replace(admission(), straight=True))

    outs = await embedder.requests(straight, admitted())

    assert [len(each) for each in outs] == [0, 1]
    assert embedder.service.inputs[0].ending(straight, context(), TerminalError("internal_error", "a bug")) == []


async def test_a_grounded_question_too_long_for_the_model_is_refused_and_its_neighbours_go_on() -> None:
    [[long], [short]] = await Embedder().requests(admitted(user("word " * 17), grounding=GROUNDED), admitted())

    assert isinstance(long, RequestFinished)
    assert (long.outcome, long.reason, long.finished_at_ms) == ("refused", "text_too_long", NOW)
    assert (long.request_id, long.fingerprint, [step.step for step in long.steps]) == ("r1", "f" * 32, ["embedder"])
    assert isinstance(short, RequestEmbedded)


async def test_a_question_too_long_to_be_matched_by_meaning_is_still_answered() -> None:
    [[out]] = await Embedder().requests(admitted(user("word " * 17)))

    assert isinstance(out, RequestEmbedded)
    assert out.vector is None


async def test_a_request_or_chunk_of_a_tenant_that_is_gone_is_refused() -> None:
    embedder = Embedder()
    await embedder.tenants.apply([Change(key="acme", record=None, partition=0, offset=1)])

    [[finished]] = await embedder.requests(admitted())
    [[document, passed_on]] = await embedder.chunks(chunk())

    assert isinstance(finished, RequestFinished)
    assert (finished.outcome, finished.reason) == ("refused", "unknown_tenant")
    assert isinstance(document, DocumentFinished)
    assert (document.outcome, document.reason) == ("refused", "unknown_tenant")
    assert passed_on == ChunkEmbedded(chunk=chunk(), vector=None)


async def test_a_model_that_does_not_exist_is_a_terminal_error() -> None:
    with pytest.raises(TerminalError, match="no embedding model 'typo'"):
        await Embedder(tenant(embedding_model="typo")).requests(admitted())


async def test_chunks_get_the_vector_of_their_text() -> None:
    embedder = Embedder()

    outs = await embedder.chunks(chunk(0, 2), chunk(1, 2))

    assert [type(out) for each in outs for out in each] == [ChunkEmbedded, ChunkEmbedded]
    assert embedder.models["wordllama-256"].asked == [["text 0 of v1", "text 1 of v1"]]


async def test_a_removal_passes_through_even_of_a_tenant_that_is_gone() -> None:
    removal = chunk(0, 0, tenant="gone", text="")

    assert await Embedder().chunks(removal) == [[ChunkEmbedded(chunk=removal, vector=None)]]


async def test_a_chunk_too_long_ends_its_document_and_tells_the_retriever() -> None:
    long = chunk(text="word " * 17)

    [[ended, passed_on]] = await Embedder().chunks(long)

    assert isinstance(ended, DocumentFinished)
    assert (ended.outcome, ended.reason, ended.document_id) == ("refused", "text_too_long", "d-v1")
    assert passed_on == ChunkEmbedded(chunk=long, vector=None)


def test_whatever_stops_a_record_it_has_its_end() -> None:
    requests, chunks = Embedder().service.inputs

    [finished] = requests.ending(admitted(), context(), RetryableError("deadline_exceeded"))
    [document, _] = chunks.ending(chunk(), context(), TerminalError("internal_error", "a bug"))
    [removal] = chunks.ending(chunk(0, 0), context(), TerminalError("internal_error"))

    assert isinstance(finished, RequestFinished)
    assert (finished.outcome, finished.reason) == ("expired", "deadline_exceeded")
    assert isinstance(document, DocumentFinished)
    assert (document.outcome, document.reason, document.detail) == ("failed", "internal_error", "a bug")
    assert isinstance(removal, DocumentFinished)


def test_the_service_is_what_its_topics_say() -> None:
    built = build(World(env={}))

    assert [source.topic for source in built.inputs] == [REQUEST_ADMITTED, CHUNK_ACCEPTED]
    topics = [source.topic for source in built.inputs] + [follower.topic for follower in built.followers]
    assert all(built.name in topic.readers for topic in topics)
    deadline = built.inputs[0].deadline_ms
    assert deadline is not None
    assert deadline(admitted()) == NOW + 60_000


def test_settings_have_defaults_and_are_read() -> None:
    assert Settings.from_env({}) == Settings()
    env = {"DAYTWO_EMBEDDER_MAX_WINDOWS": "8", "DAYTWO_EMBEDDER_THREADS": "2", "DAYTWO_EMBEDDER_PRELOAD": "minilm-int8, wordllama-256"}
    assert Settings.from_env(env) == Settings(max_windows=8, threads=2, preload=("minilm-int8", "wordllama-256"))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAYTWO_EMBEDDER_MAX_WINDOWS", "0"),
        ("DAYTWO_EMBEDDER_THREADS", "two"),
        ("DAYTWO_EMBEDDER_PRELOAD", "bert"),
    ],
)
def test_a_bad_setting_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_env({name: value})
