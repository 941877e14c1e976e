"""The client against a broker in memory and services that answer."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
from collections.abc import Sequence
from typing import Any

import pytest

from daytwo import client as client_module
from daytwo.broker import Outgoing, Raw, Reader, Sender
from daytwo.client import (
    BudgetExceededError,
    Client,
    ClientError,
    DocumentError,
    ExpiredError,
    FailedError,
    InvalidInputError,
    NotAcknowledgedError,
    NotConnectedError,
    OverloadedError,
    RefusedError,
    RequestError,
    SigningKey,
    SyncClient,
    UnreadableResultError,
    WaitTimeoutError,
)
from daytwo.client.waiting import Mailbox
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.errors import RetryableError
from daytwo.fate import submission
from daytwo.memory import MemoryBroker, MemoryReader
from daytwo.records import Outcome, RequestFinished, RequestSubmitted
from daytwo.results import document_ended, finished
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_FINISHED, REQUEST_SUBMITTED
from tests.client.services import AnsweringBroker, answered, sent, services


@pytest.fixture
def broker() -> MemoryBroker:
    return MemoryBroker(SystemClock())


def client_of(broker: MemoryBroker, **rest: Any) -> Client:
    return Client(broker=broker, **{"tenant": "acme", "timeout": 5, "grace": 0.2, **rest})


def submitted(broker: MemoryBroker) -> list[RequestSubmitted]:
    return [decode(REQUEST_SUBMITTED, raw.value or b"", strict=True) for raw in broker.records("request-submitted")]


async def test_a_question_gets_its_answer(broker: MemoryBroker) -> None:
    async with services(broker), client_of(broker) as daytwo:
        result = await daytwo.ask("What is a rebalance?")

    assert result.message is not None
    assert result.message.content == "echo: What is a rebalance?"


async def test_the_fields_of_a_request_reach_the_log(broker: MemoryBroker) -> None:
    question: list[dict[str, Any]] = [
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "content": "3", "tool_call_id": "c1"},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    async with client_of(broker, user="ann") as daytwo:
        session = daytwo.session("s1", workflow="w1")
        await session.submit(question, model="small", tools=tools, grounding="manual", metadata={"a": "b"}, request_id="r1")

    (request,) = submitted(broker)
    assert (request.request_id, request.tenant, request.user, request.session, request.workflow) == ("r1", "acme", "ann", "s1", "w1")
    assert request.messages[0].tool_calls[0].name == "f"
    assert request.tools[0].parameters == '{"type": "object"}'
    assert request.grounding is not None
    assert request.grounding.collection == "manual"
    assert 0 < request.deadline_ms - SystemClock().now_ms() <= 5000


async def test_ids_come_from_the_randomness_passed_in(broker: MemoryBroker) -> None:
    async with client_of(broker, rng=random.Random(7)) as one, client_of(broker, rng=random.Random(7)) as other:
        assert await one.submit("a") == await other.submit("b")


async def test_many_sessions_of_one_client_get_each_its_own_answer(broker: MemoryBroker) -> None:
    async with services(broker), client_of(broker) as daytwo:
        sessions = [daytwo.session() for _ in range(50)]
        results = await asyncio.gather(*[session.ask(f"question {n}") for n, session in enumerate(sessions)])

    assert [result.message.content for result in results if result.message] == [f"echo: question {n}" for n in range(50)]
    assert [result.session for result in results] == [session.name for session in sessions]


async def test_the_first_terminal_record_of_an_id_is_its_result(broker: MemoryBroker) -> None:
    def twice(request: RequestSubmitted) -> Sequence[RequestFinished]:
        return [answered(request, "first"), answered(request, "second")]

    async with services(broker, twice), client_of(broker) as daytwo:
        request_id = await daytwo.submit("?")
        await asyncio.sleep(0.05)
        result = await daytwo.result(request_id)

    assert result.message is not None
    assert result.message.content == "first"


@pytest.mark.parametrize("fingerprint", ["", "of another content"])
async def test_a_refusal_of_bytes_that_somebody_else_sent_under_the_id_is_not_the_result(broker: MemoryBroker, fingerprint: str) -> None:
    def refused_first(request: RequestSubmitted) -> Sequence[RequestFinished]:
        forged = finished(request, now_ms=0, outcome="refused", reason="overloaded", fingerprint=fingerprint, submission="00" * 16)
        return [forged, answered(request, "the answer")]

    async with services(broker, refused_first), client_of(broker) as daytwo:
        result = await daytwo.ask("?")

    assert result.message is not None
    assert result.message.content == "the answer"


async def test_a_refusal_of_the_bytes_that_were_sent_is_the_result(broker: MemoryBroker) -> None:
    def refused(request: RequestSubmitted) -> Sequence[RequestFinished]:
        (raw,) = broker.records("request-submitted")
        return [finished(request, now_ms=0, outcome="refused", reason="invalid_request", submission=submission(raw.value))]

    async with services(broker, refused), client_of(broker) as daytwo:
        result = await daytwo.ask("?", check=False)

    assert result.reason == "invalid_request"


async def test_a_result_that_comes_before_anyone_waits_is_kept(broker: MemoryBroker) -> None:
    async with services(broker), client_of(broker) as daytwo:
        request_id = await daytwo.submit("?")
        await asyncio.sleep(0.05)

        assert (await daytwo.result(request_id)).request_id == request_id
        with pytest.raises(InvalidInputError, match="taken already"):
            await daytwo.result(request_id)


async def test_results_come_until_none_is_outstanding(broker: MemoryBroker) -> None:
    async with services(broker), client_of(broker) as daytwo:
        ids = {await daytwo.submit(f"question {n}") for n in range(20)}
        asked = await daytwo.ask("taken by ask")
        seen = [result.request_id async for result in daytwo.results()]

    assert set(seen) == ids
    assert len(seen) == 20
    assert asked.request_id not in seen


async def collect(daytwo: Client, seen: list[str]) -> None:
    async for result in daytwo.results():
        seen.append(result.request_id)  # noqa: PERF401 - what came before an error counts


async def test_results_whose_time_is_up_are_named_after_all_others(broker: MemoryBroker) -> None:
    def not_all(request: RequestSubmitted) -> Sequence[RequestFinished]:
        return [] if request.messages[0].content == "lost" else [answered(request)]

    seen: list[str] = []
    async with services(broker, not_all), client_of(broker, timeout=0.1) as daytwo:
        lost = await daytwo.submit("lost")
        kept = await daytwo.submit("kept")
        with pytest.raises(WaitTimeoutError) as late:
            await collect(daytwo, seen)

    assert seen == [kept]
    assert late.value.record_ids == (lost,)


async def test_a_wait_ends_with_deadline_and_grace_and_can_be_taken_up_again(broker: MemoryBroker) -> None:
    async with client_of(broker, timeout=0.1, grace=0.1) as daytwo:
        with pytest.raises(WaitTimeoutError) as late:
            await daytwo.ask("nobody is there")
        async with services(broker):
            result = await daytwo.result(late.value.record_ids[0], timeout=2)

    assert result.outcome == "answered"


@pytest.mark.parametrize(
    ("outcome", "reason", "error"),
    [
        ("refused", "unknown_model", RefusedError),
        ("refused", "budget_exceeded", BudgetExceededError),
        ("refused", "overloaded", OverloadedError),
        ("expired", "deadline_exceeded", ExpiredError),
        ("failed", "providers_unavailable", FailedError),
    ],
)
async def test_an_end_without_an_answer_is_a_typed_error(
    broker: MemoryBroker, outcome: Outcome, reason: str, error: type[RequestError]
) -> None:
    def refuse(request: RequestSubmitted) -> Sequence[RequestFinished]:
        return [finished(request, now_ms=0, outcome=outcome, reason=reason, retry_after_ms=1500)]

    async with services(broker, refuse), client_of(broker) as daytwo:
        with pytest.raises(error, match=r"try again after 1\.5 s") as raised:
            await daytwo.ask("?")
        unchecked = await daytwo.ask("?", check=False)

    assert type(raised.value) is error
    assert raised.value.retry_after == 1.5
    assert raised.value.result.reason == unchecked.reason == reason


async def test_documents_are_added_and_removed(broker: MemoryBroker) -> None:
    async with services(broker), client_of(broker) as daytwo:
        added = await daytwo.add_document("a.md", "# A", "manual", media_type="text/markdown", title="A")
        removed = await daytwo.remove_document("a.md", "manual")

    documents = [decode(DOCUMENT_SUBMITTED, raw.value or b"", strict=True) for raw in broker.records("document-submitted")]
    assert (added.outcome, added.chunks, removed.outcome) == ("indexed", 3, "removed")
    assert [document.content for document in documents] == [b"# A", None]


async def test_a_refused_document_is_an_error_with_its_result(broker: MemoryBroker) -> None:
    async with (
        services(broker, document=lambda d: document_ended(d, now_ms=0, outcome="refused", reason="invalid_document")),
        client_of(broker) as daytwo,
    ):
        with pytest.raises(DocumentError, match="correct the document") as raised:
            await daytwo.add_document("a.bin", b"\xff", "manual")
    assert raised.value.result.reason == "invalid_document"


async def test_what_is_sent_is_signed_where_a_key_is_given(broker: MemoryBroker) -> None:
    async with client_of(broker, key=SigningKey(id="k1", secret="s3cret")) as daytwo:
        await daytwo.submit("?")

    (raw,) = broker.records("request-submitted")
    assert raw.value is not None
    assert raw.headers["daytwo-key"] == b"k1"
    assert raw.headers["daytwo-signature"] == hmac.new(b"s3cret", raw.value, hashlib.sha256).hexdigest().encode()


async def test_results_of_others_are_not_decoded(broker: MemoryBroker) -> None:
    garbage = b"these bytes are no record"
    others = [
        Outgoing(topic="request-finished", key=b"umbrella/s", value=garbage, headers={"request-id": b"mine"}),
        Outgoing(topic="request-finished", key=b"acme/s", value=garbage, headers={"request-id": b"of another client"}),
        Outgoing(topic="request-finished", key=b"acme/s", value=garbage),
    ]
    async with client_of(broker) as daytwo:
        await daytwo.submit("?", request_id="mine")
        for record in others:
            broker.append(record)
        async with services(broker):
            result = await daytwo.result("mine")

    assert result.outcome == "answered"


async def test_a_result_of_another_tenant_under_our_key_is_not_ours(broker: MemoryBroker) -> None:
    async with client_of(broker, timeout=0.1, grace=0.1) as daytwo:
        await daytwo.submit("?", request_id="mine")
        forged = sent(answered(RequestSubmitted(request_id="mine", tenant="evil", messages=()), "forged"))
        broker.append(Outgoing(topic=forged.topic, key=b"acme/mine", value=forged.value, headers=forged.headers))
        with pytest.raises(WaitTimeoutError):
            await daytwo.result("mine")


async def test_results_without_the_header_are_decoded(broker: MemoryBroker) -> None:
    async with services(broker, header=False), client_of(broker) as daytwo:
        assert (await daytwo.ask("?")).outcome == "answered"
        assert (await daytwo.add_document("a", "b", "c")).outcome == "indexed"


async def test_a_result_of_ours_that_cannot_be_read_says_so(broker: MemoryBroker) -> None:
    async with client_of(broker) as daytwo:
        await daytwo.submit("?", request_id="mine")
        newer = Outgoing(topic="request-finished", key=b"acme/mine", value=b"\0\0\0\x99\x99", headers={"request-id": b"mine"})
        broker.append(newer)
        with pytest.raises(UnreadableResultError, match="upgrade"):
            await daytwo.result("mine")


async def test_results_from_before_the_start_are_not_taken(broker: MemoryBroker) -> None:
    broker.append(sent(answered(RequestSubmitted(request_id="mine", tenant="acme", messages=()), "old")))
    async with client_of(broker) as daytwo, services(broker):
        result = await daytwo.ask("new", request_id="mine")
    assert result.message is not None
    assert result.message.content == "echo: new"


class Breaking(MemoryBroker):
    """Its readers break after each record they gave."""

    def reader(self, *, patience_ms: int = 0) -> Reader:
        return BreakingReader(self)


class BreakingReader(MemoryReader):
    broken = False

    async def read(self, timeout_s: float) -> Sequence[Raw]:
        if self.broken:
            raise RetryableError("store_unavailable", "the connection broke")
        found = await super().read(timeout_s)
        self.broken = bool(found)
        return found


async def test_a_broken_reader_goes_on_where_it_broke() -> None:
    broker = Breaking(SystemClock())
    async with services(MemoryBrokerOf(broker)), client_of(broker) as daytwo:
        for n in range(3):
            assert (await daytwo.ask(f"{n}")).outcome == "answered"


class MemoryBrokerOf(MemoryBroker):
    """The same log, with readers that hold."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker.clock)
        self.logs = broker.logs


class Crashing(MemoryBroker):
    """Its readers have a bug."""

    def reader(self, *, patience_ms: int = 0) -> Reader:
        return CrashingReader(self)


class CrashingReader(MemoryReader):
    async def read(self, timeout_s: float) -> Sequence[Raw]:
        await super().read(timeout_s)
        raise ZeroDivisionError


async def test_a_bug_in_reading_ends_every_wait_instead_of_hanging() -> None:
    broker = Crashing(SystemClock())
    async with client_of(broker) as daytwo:
        with pytest.raises(NotConnectedError, match="a bug of daytwo"):
            await daytwo.ask("?")
        with pytest.raises(NotConnectedError):
            await daytwo.ask("again")


async def test_results_nobody_collects_are_dropped_at_the_limit_and_open_ones_are_not() -> None:
    mailbox: Mailbox[str] = Mailbox(SystemClock(), most_kept=3)
    for name in ("a", "b", "c"):
        mailbox.expect(name, 60, taken=False)
    mailbox.deliver("a", "result of a")
    mailbox.deliver("b", "result of b")
    mailbox.expect("d", 60, taken=False)
    mailbox.deliver("c", "result of c")
    mailbox.deliver("d", "result of d")
    assert [result async for result in mailbox.collect_all()] == ["result of c", "result of d"]
    assert not mailbox


async def test_the_message_of_a_time_out_says_that_the_connection_is_gone() -> None:
    broker = MemoryBroker(SystemClock())
    async with client_of(broker, timeout=0.3, grace=0.1) as daytwo:
        await daytwo.submit("?", request_id="mine")
        broker.down = True
        broker.append(Outgoing(topic="request-finished", key=b"x/y", value=None))
        with pytest.raises(WaitTimeoutError, match="no connection"):
            await daytwo.result("mine")


async def test_a_broker_that_is_away_at_the_start_is_one_clear_error() -> None:
    broker = MemoryBroker(SystemClock())
    broker.down = True
    with pytest.raises(NotConnectedError, match="does it run there"):
        async with client_of(broker):
            pytest.fail("not reached")


class Unsure(MemoryBroker):
    """Loses the first acknowledgements, but has the records."""

    lost = 2

    def sender(self) -> Sender:
        return UnsureSender(self)


class UnsureSender:
    def __init__(self, broker: Unsure) -> None:
        self._broker = broker

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        places = [self._broker.append(record) for record in records]
        self._broker.lost -= 1
        if self._broker.lost >= 0:
            raise RetryableError("store_unavailable", "no acknowledgement")
        return places


async def test_what_was_not_acknowledged_is_sent_again_with_the_same_id() -> None:
    broker = Unsure(SystemClock())
    async with client_of(broker) as daytwo:
        await daytwo.submit("?", request_id="mine")
    assert [request.request_id for request in submitted(broker)] == ["mine"] * 3
    assert len({raw.value for raw in broker.records("request-submitted")}) == 1


async def test_sending_ends_with_the_deadline_too() -> None:
    broker = Unsure(SystemClock())
    broker.lost = 1000
    async with client_of(broker, timeout=0.1, grace=0.1) as daytwo:
        with pytest.raises(NotAcknowledgedError, match="same id") as unsure:
            await daytwo.ask("?", request_id="mine")
    assert unsure.value.record_id == "mine"


@pytest.mark.parametrize(
    ("question", "fields"),
    [
        ([{"text": "no role"}], {}),
        (["just text"], {}),
        ("?", {"colour": "red"}),
        ("?", {"max_tokens": 1.5}),
        ("?", {"max_tokens": 2**40}),
        ("?", {"lane": "fast"}),
        ("?", {"grounding": {"top": 3}}),
        ("?", {"tools": ["f"]}),
        ("?", {"timeout": -1}),
        ("?", {"timeout": float("nan")}),
        ("?", {"session": "\ud800"}),
        ("x" * 17_000_000, {}),
    ],
)
async def test_what_is_no_request_is_not_sent(broker: MemoryBroker, question: Any, fields: Any) -> None:
    async with client_of(broker) as daytwo:
        with pytest.raises(InvalidInputError):
            await daytwo.submit(question, **fields)
        assert [result async for result in daytwo.results()] == []
    assert submitted(broker) == []


async def test_a_client_that_is_not_open_says_how_to_open_it(broker: MemoryBroker) -> None:
    with pytest.raises(NotConnectedError, match="async with"):
        await client_of(broker).ask("?")


async def test_closing_ends_every_wait(broker: MemoryBroker) -> None:
    daytwo = client_of(broker)
    async with daytwo:
        waiting = asyncio.create_task(daytwo.ask("?"))
        await asyncio.sleep(0.05)
    with pytest.raises(NotConnectedError, match="closed"):
        await waiting


async def test_a_cancelled_ask_is_forgotten(broker: MemoryBroker) -> None:
    async with client_of(broker) as daytwo:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(daytwo.ask("?", request_id="mine"), 0.05)
        with pytest.raises(InvalidInputError):
            await daytwo.result("mine")


def test_scripts_have_the_same_client_without_await() -> None:
    with SyncClient(tenant="acme", broker=AnsweringBroker(SystemClock()), timeout=5) as daytwo:
        result = daytwo.ask("hello")
        assert result.message is not None
        assert result.message.content == "echo: hello"
        submitted = daytwo.session("s").submit("again")
        assert [result.request_id for result in daytwo.results()] == [submitted]
        assert daytwo.session().ask("?").session
        assert daytwo.result(daytwo.submit("?")).outcome == "answered"
        assert daytwo.add_document("a", "b", "c").outcome == "indexed"
        assert daytwo.remove_document("a", "c").outcome == "removed"


def test_a_script_gets_the_same_errors() -> None:
    broker = MemoryBroker(SystemClock())
    broker.down = True
    with pytest.raises(NotConnectedError, match="does it run there"), SyncClient(tenant="acme", broker=broker):
        pytest.fail("not reached")


def test_a_script_without_with_gets_a_clear_error(broker: MemoryBroker) -> None:
    with pytest.raises(NotConnectedError, match="with SyncClient"):
        SyncClient(tenant="acme", broker=broker).ask("?")


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    from daytwo.client import errors

    names = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, ClientError)}
    drawn = {word for word in (errors.__doc__ or "").split() if word.endswith("Error") and not word.startswith(("(", "Time"))}
    assert drawn == names
    assert names <= set(client_module.__all__)


def test_every_finished_topic_of_the_client_names_it_as_reader() -> None:
    assert "client" in REQUEST_FINISHED.readers
