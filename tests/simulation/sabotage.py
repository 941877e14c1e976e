"""Guards taken away on purpose: what the simulation must notice. Each replaces a part where the services are put together;
nothing here can be switched on in production.

A sabotage names the rules that must bite (test_sabotage.py holds it to that).
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from daytwo.broker import Partition, Raw
from daytwo.client import Client
from daytwo.errors import RetryableError
from daytwo.flow import Context, Input, Output, Service
from daytwo.loop import Loop
from daytwo.openings import Openings
from daytwo.progress import Progress
from daytwo.records import (
    AnswerLearned,
    AttemptFinished,
    AttemptStarted,
    ChunkAccepted,
    DeadLetter,
    RequestAccepted,
    RequestEmbedded,
    RequestFinished,
    Usage,
)
from daytwo.world import World
from services.cache import decision
from services.cost_meter.history import Ended
from services.cost_meter.keeper import LedgerKeeper, Rebuilt
from services.cost_meter.ports import Answer, Decided, Reservation, Settled, Settlement, Unsettled
from services.cost_meter.tenants import Tenants
from services.inference_router.ports import Attempt
from services.ingest.requests import overloaded
from tests.cost_meter.memory_ledger import MemoryLedger
from tests.simulation.cluster import BUILDS, Cluster, Parts
from tests.simulation.ledger import KeptLedger
from tests.simulation.loop import Process

Handle = Callable[[Any, Context], Awaitable[Sequence[Output]]]


@dataclass(frozen=True, slots=True)
class Sabotage:
    parts: Parts
    rules: frozenset[str]
    """At least one of these must be broken."""


def _service(name: str, change: Callable[[Service, Cluster], Service]) -> Parts:
    def build(cluster: Cluster, process: Process, world: World) -> Service:
        return change(BUILDS[name](cluster, process, world), cluster)

    return Parts(service={name: build})


def _handler(name: str, topic: str, around: Callable[[Handle, Cluster], Handle]) -> Parts:
    """The service with something around the handler of one of its inputs."""

    def change(service: Service, cluster: Cluster) -> Service:
        return replace(service, inputs=[_around(source, topic, lambda handle: around(handle, cluster)) for source in service.inputs])

    return _service(name, change)


def _around(source: Input[Any], topic: str, around: Callable[[Handle], Handle]) -> Input[Any]:
    if source.topic.name != topic or source.handle is None:
        return source
    return replace(source, handle=around(source.handle))


def _outputs(name: str, topic: str, change: Callable[[Output], Output]) -> Parts:
    """The service with something else in the place of its outputs."""

    def around(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: Any, context: Context) -> Sequence[Output]:
            return [change(output) for output in await handle(record, context)]

        return handles

    return _handler(name, topic, around)


# the loop


def _commit_before_acknowledgement(loop: Loop) -> None:
    admit = loop._admit

    def admits(raw: Raw) -> None:
        admit(raw)
        loop._progress[Partition(raw.topic, raw.partition)].finished(raw.offset)

    loop._admit = admits  # type: ignore[method-assign]


def _swallow_errors(loop: Loop) -> None:
    call = loop._worker._call

    async def calls(source: Input[Any], record: Any, context: Context) -> Sequence[Output]:
        try:
            return await call(source, record, context)
        except Exception:
            return []

    loop._worker._call = calls  # type: ignore[method-assign]


def _ignore_epoch(loop: Loop) -> None:
    def ignores() -> None:
        loop._epoch = loop._group.epoch

    loop._reassigned = ignores  # type: ignore[method-assign]


class _Highest(Progress):
    def committable(self) -> int:
        return self._next


class _HighestOf(dict[Partition, Progress]):
    def __setitem__(self, partition: Partition, progress: Progress) -> None:
        super().__setitem__(partition, _Highest(progress.committed))

    def get(self, partition: Partition, default: Any = None) -> Any:
        return super().get(partition, default)


def _commit_highest(loop: Loop) -> None:
    loop._progress = _HighestOf()
    admit = loop._admit

    def admits(raw: Raw) -> None:
        partition = Partition(raw.topic, raw.partition)
        if partition not in loop._progress:
            loop._progress[partition] = Progress(raw.offset)
            if loop._lanes[raw.topic].source.prepare is not None:
                loop._preparing[partition] = []
                loop._spawn(loop._prepare(loop._lanes[raw.topic].source, partition, raw.timestamp_ms, loop._epoch))
        admit(raw)

    loop._admit = admits  # type: ignore[method-assign]


def _drop_batch_on_producer_error(loop: Loop) -> None:
    worker = loop._worker

    async def sends(outputs: Sequence[Output]) -> None:
        try:
            if outputs:
                await worker._sender.send([worker._addressed(output) for output in outputs])
        except RetryableError:
            return

    worker.send = sends  # type: ignore[method-assign]


def _log_and_drop(loop: Loop) -> None:
    opens = loop._worker._open

    def drops(source: Input[Any], raw: Raw, context: Context, *, condemned: bool = False) -> tuple[Any, Sequence[Output] | None]:
        record, ended = opens(source, raw, context, condemned=condemned)
        lost = ended and any(isinstance(output, DeadLetter) for output in ended)
        return record, [] if lost else ended

    loop._worker._open = drops  # type: ignore[method-assign]


def _no_dead_letters(loop: Loop) -> None:
    send = loop._worker.send

    async def sends(outputs: Sequence[Output]) -> None:
        await send([output for output in outputs if not isinstance(output, DeadLetter)])

    loop._worker.send = sends  # type: ignore[method-assign]


def _overtake(loop: Loop) -> None:
    """Records of one key are handled at the same time."""

    def schedules(raw: Raw) -> None:
        lane = loop._lanes[raw.topic]
        loop._spawn(loop._one(lane, raw))

    if loop.service.name in ("ingest", "cost-meter"):
        loop._schedule = schedules  # type: ignore[method-assign]


def _refusal_without_result(loop: Loop) -> None:
    """A record that can never succeed is set aside, and nobody is told."""
    handled = loop._worker._handled

    async def handles(source: Input[Any], raw: Raw, record: Any, context: Context) -> Sequence[Output]:
        return [output for output in await handled(source, raw, record, context) if _tells(output)]

    def _tells(output: Output) -> bool:
        return not (isinstance(output, RequestFinished) and output.outcome != "answered")

    loop._worker._handled = handles  # type: ignore[method-assign]


# money


class _NoReservation(MemoryLedger):
    async def reserve(self, reservation: Reservation) -> Answer:
        return Decided(decision=reservation.proposal, repeated=False)


class _ReserveAtTheEnd(MemoryLedger):
    def __init__(self) -> None:
        super().__init__()
        self._asked: dict[tuple[str, str], Reservation] = {}

    async def reserve(self, reservation: Reservation) -> Answer:
        key = (reservation.tenant, reservation.request_id)
        if key in self._asked:
            return await super().reserve(reservation)
        self._asked[key] = reservation
        return Decided(decision=reservation.proposal, repeated=False)

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        if (asked := self._asked.get((settlement.tenant, settlement.request_id))) is not None:
            open_to_all = [window._replace(limit_nano=None, limit_tokens=None, limit_requests=None) for window in asked.windows]
            await super().reserve(replace(asked, windows=open_to_all))
        return await super().settle(settlement)


class _SettleTwice(MemoryLedger):
    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        known = self.books[settlement.tenant].requests.get(settlement.request_id)
        closed = known.closed if known is not None else None
        settled = await super().settle(settlement)
        if known is not None and closed is not None:
            for path in known.paths:
                self.books[settlement.tenant].add(path, settled_nano=settlement.cost_nano)
        return settled


class _ForgetSettlement(MemoryLedger):
    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        """The reservation stays."""
        return Unsettled(known=True)


class _DecideAgain(MemoryLedger):
    """What is open is decided anew, whatever the round."""

    async def reserve(self, reservation: Reservation) -> Answer:
        known = self.books[reservation.tenant].requests.get(reservation.request_id)
        if known is not None and not known.closed and reservation.round:
            del self.books[reservation.tenant].requests[reservation.request_id]
        return await super().reserve(reservation)


class _KeepTheRoom(MemoryLedger):
    """A request that has ended counts as open."""

    async def settle(self, settlement: Settlement) -> Settled | Unsettled:
        settled = await super().settle(settlement)
        known = self.books[settlement.tenant].requests.get(settlement.request_id)
        for path in known.paths if known is not None and isinstance(settled, Settled) else ():
            if path.endswith("/open/now"):
                self.books[settlement.tenant].add(path, open=1)
        return settled


class _OpenTokens(MemoryLedger):
    """Tokens and open requests are counted and not capped."""

    async def reserve(self, reservation: Reservation) -> Answer:
        windows = [window._replace(limit_tokens=None, limit_requests=None) for window in reservation.windows]
        return await super().reserve(replace(reservation, windows=windows))


class _NeverShut(KeptLedger):
    def shut(self) -> None:
        """As it was before it restarted."""


class _OpenUnread(LedgerKeeper):
    async def _play_all(self) -> Rebuilt:
        return Rebuilt(since_ms=None, number=await self._announced())


class _Unnumbered(Openings):
    async def latest(self) -> int:
        """A grant is good whoever gave it."""
        return 0


class _AdmissionsOnly(LedgerKeeper):
    async def _settle(self, ended: Sequence[Ended], tenants: Tenants, rebuilt: Rebuilt) -> None:
        """What has ended is not played."""


def _cheaper_unasked() -> Parts:
    """The cheaper route is taken without a second question to the ledger."""

    class Unasked(MemoryLedger):
        async def reserve(self, reservation: Reservation) -> Answer:
            if reservation.round % 2:
                return Decided(decision=reservation.proposal, repeated=False)
            return await super().reserve(reservation)

    return _ledger(Unasked)


def _wait_and_forget() -> Parts:
    def around(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: Any, context: Context) -> Sequence[Output]:
            await asyncio.sleep(0)
            return []

        return handles

    return _handler("cost-meter", "request-waiting", around)


# the door


def _refuse_after_acceptance() -> Parts:
    """One that is let in while others are refused is refused, too."""

    def around(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: Any, context: Context) -> Sequence[Output]:
            outputs = await handle(record, context)
            accepted = [each for each in outputs if isinstance(each, RequestAccepted) and each.request.model == "narrow"]
            return [*outputs, *(overloaded(each, context, 1000) for each in accepted)]

        return handles

    return _handler("ingest", "request-submitted", around)


def _ledger(kind: type[MemoryLedger]) -> Parts:
    return Parts(ledger=kind)


# the router


def _router(change: Callable[[Any], None]) -> Parts:
    def changed(service: Service, cluster: Cluster) -> Service:
        handle: Any = service.inputs[0].handle
        change(handle.__self__)
        return service

    return _service("inference-router", changed)


def _forget_journal() -> Parts:
    async def nothing(since_ms: Mapping[int, int], take: Callable[[int, Attempt], None]) -> None:
        return None

    return Parts(journal=nothing)


def _write_ahead(change: Callable[[Any], Any]) -> Parts:
    def around(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: Any, context: Context) -> Sequence[Output]:
            async def writes(ahead: Any) -> None:
                changed = change(ahead)
                if changed is not None:
                    await context.write_ahead(changed)

            return await handle(record, context._replace(write_ahead=writes))

        return handles

    return _handler("inference-router", "request-grounded", around)


def _free_if_lost(record: Any) -> Any:
    if isinstance(record, AttemptFinished) and record.outcome == "unknown":
        return replace(record, cost_nano=0, usage=Usage())
    return record


def _ignore_deadline() -> Parts:
    def later(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: Any, context: Context) -> Sequence[Output]:
            await asyncio.sleep(0)
            return await handle(
                replace(record, request=replace(record.request, deadline_ms=record.request.deadline_ms + 3_600_000)), context
            )

        return handles

    router = _handler("inference-router", "request-grounded", later)

    def without(name: str) -> Callable[[Cluster, Process, World], Service]:
        def build(cluster: Cluster, process: Process, world: World) -> Service:
            built = router.service.get(name, BUILDS[name])(cluster, process, world)
            return replace(built, inputs=[replace(source, deadline_ms=None) for source in built.inputs])

        return build

    return Parts(service={name: without(name) for name in BUILDS})


# cache and documents


def _invent(output: Output) -> Output:
    if isinstance(output, AnswerLearned):
        return replace(output, message=replace(output.message, content="Forty-two."))
    return output


def _tenant_left_out() -> Parts:
    """The cache looks for the words of the question and for nothing else."""

    def around(handle: Handle, cluster: Cluster) -> Handle:
        async def handles(record: RequestEmbedded, context: Context) -> Sequence[Output]:
            text = record.request.messages[-1].content
            for answer in cluster.answers.answers.values():
                if answer.question_text == text and record.request.cache == "use":
                    match = decision.match_of(answer, record.question, 1.0, arrived_ms=context.timestamp_ms, now_ms=context.clock.now_ms())
                    return [decision.answered(record, answer, match, now_ms=context.clock.now_ms(), step=context.step())]
            return await handle(record, context)

        return handles

    return _handler("cache", "request-embedded", around)


def _random_chunk_ids() -> Parts:
    count = iter(range(10**9))

    def change(output: Output) -> Output:
        if isinstance(output, ChunkAccepted) and output.count:
            return replace(output, chunk_id=str(uuid.UUID(int=next(count))))
        return output

    return _outputs("ingest", "document-submitted", change)


# clients


def _last_result_wins(client: Client) -> None:
    latest: dict[str, RequestFinished] = {}
    deliver, ask = client._requests.deliver, client.ask

    def delivers(record_id: str, result: Any) -> None:
        latest[record_id] = result
        deliver(record_id, result)

    async def asks(question: Any, **fields: Any) -> RequestFinished:
        first = await ask(question, **fields)
        client._requests.expect(first.request_id, 5.0, taken=True)
        await asyncio.sleep(5.0)
        return latest[first.request_id]

    client._requests.deliver = delivers  # type: ignore[method-assign]
    client.ask = asks  # type: ignore[method-assign]


SABOTAGES: Final[Mapping[str, Callable[[], Sabotage]]] = {
    "commit before the acknowledgement": lambda: Sabotage(Parts(loop=_commit_before_acknowledgement), frozenset({"passed_over"})),
    "swallow a handler's error": lambda: Sabotage(Parts(loop=_swallow_errors), frozenset({"passed_over", "lost"})),
    "ignore the epoch after a rebalance": lambda: Sabotage(Parts(loop=_ignore_epoch), frozenset({"backlog", "passed_over"})),
    "commit the highest finished": lambda: Sabotage(Parts(loop=_commit_highest), frozenset({"passed_over"})),
    "drop the batch on a producer's error": lambda: Sabotage(Parts(loop=_drop_batch_on_producer_error), frozenset({"passed_over", "lost"})),
    "log and drop what cannot be read": lambda: Sabotage(Parts(loop=_log_and_drop), frozenset({"unaccounted"})),
    "no dead letters": lambda: Sabotage(Parts(loop=_no_dead_letters), frozenset({"unaccounted"})),
    "handle one key's records at the same time": lambda: Sabotage(Parts(loop=_overtake), frozenset({"out_of_order"})),
    "end a request in silence": lambda: Sabotage(Parts(loop=_refusal_without_result), frozenset({"lost", "passed_over"})),
    "reserve nothing": lambda: Sabotage(_ledger(_NoReservation), frozenset({"ledger_differs", "above_cap"})),
    "reserve after the call": lambda: Sabotage(_ledger(_ReserveAtTheEnd), frozenset({"above_cap"})),
    "settle twice": lambda: Sabotage(_ledger(_SettleTwice), frozenset({"ledger_differs"})),
    "forget to settle": lambda: Sabotage(_ledger(_ForgetSettlement), frozenset({"held_after_end"})),
    "decide a waiting request twice": lambda: Sabotage(_ledger(_DecideAgain), frozenset({"ledger_differs", "room_kept"})),
    "keep the room of what has ended": lambda: Sabotage(_ledger(_KeepTheRoom), frozenset({"room_kept"})),
    "cap money only": lambda: Sabotage(_ledger(_OpenTokens), frozenset({"above_cap"})),
    "take the cheaper route without asking the ledger": lambda: Sabotage(_cheaper_unasked(), frozenset({"above_cap"})),
    "forget what waits": lambda: Sabotage(_wait_and_forget(), frozenset({"passed_over", "lost"})),
    "trust a ledger that restarted": lambda: Sabotage(Parts(kept=_NeverShut), frozenset({"ledger_differs", "not_held", "above_cap"})),
    "open the ledger without reading the log": lambda: Sabotage(
        Parts(keeper=_OpenUnread), frozenset({"ledger_differs", "not_held", "above_cap"})
    ),
    "play admissions and not what has ended": lambda: Sabotage(Parts(keeper=_AdmissionsOnly), frozenset({"held_after_end"})),
    "buy on a grant of an earlier ledger": lambda: Sabotage(Parts(openings=_Unnumbered), frozenset({"granted_before"})),
    "refuse after acceptance": lambda: Sabotage(_refuse_after_acceptance(), frozenset({"decided_twice"})),
    "forget the journal": lambda: Sabotage(_forget_journal(), frozenset({"paid_twice", "below_bill", "attempt_ended_twice"})),
    "call before the attempt is on the log": lambda: Sabotage(
        _write_ahead(lambda record: None if isinstance(record, AttemptStarted) else record),
        frozenset({"attempt_unannounced", "below_bill"}),
    ),
    "give the result without the attempt's end": lambda: Sabotage(
        _write_ahead(lambda record: None if isinstance(record, AttemptFinished) else record), frozenset({"attempt_not_in_journal"})
    ),
    "an unknown outcome costs nothing": lambda: Sabotage(_write_ahead(_free_if_lost), frozenset({"below_bill"})),
    "ignore the deadline": lambda: Sabotage(_ignore_deadline(), frozenset({"late"})),
    "learn an answer that no provider gave": lambda: Sabotage(_outputs("cache", "request-finished", _invent), frozenset({"invented"})),
    "leave the tenant out of the cache's key": lambda: Sabotage(_tenant_left_out(), frozenset({"tenant_mixed"})),
    "random ids of chunks": lambda: Sabotage(_random_chunk_ids(), frozenset({"index_differs"})),
    "the last result wins": lambda: Sabotage(Parts(client=_last_result_wins), frozenset({"told_otherwise"})),
}


def parts_of(sabotage: str | None) -> Parts | None:
    return SABOTAGES[sabotage]().parts if sabotage else None
