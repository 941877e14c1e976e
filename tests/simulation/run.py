"""Plays a scenario and judges what is left of it on the log: the whole of a run, from a seed to its violations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Final

from daytwo.audit.bill import against_bill
from daytwo.audit.invariants import Violation
from daytwo.audit.ledger import differences
from daytwo.audit.offsets import Outputs, unfinished
from daytwo.audit.reading import IN_CAUSAL_ORDER, take
from daytwo.audit.report import judge
from daytwo.audit.view import View
from daytwo.broker import Outgoing, Partition, Raw
from daytwo.client import Client, ClientError
from daytwo.codec import decode
from daytwo.errors import RetryableError
from daytwo.records import (
    RequestFinished,
)
from daytwo.topics import DOCUMENT_FINISHED
from services.cost_meter.ledger_view import ledger_view
from tests.simulation.cluster import SERVICES, Cluster, Parts
from tests.simulation.door import Door
from tests.simulation.faults import STRIKES
from tests.simulation.loop import EPOCH_MS, Process, SimulatedLoop
from tests.simulation.network import at_once
from tests.simulation.scenario import Ask, Fault, Scenario
from tests.simulation.story import Story
from tests.simulation.submissions import KEY, NO_REPEAT, QUESTIONS, RAW, configuration, id_of, tenant_of

TIMEOUT_S: Final = 20.0
WITHIN_S: Final = 75.0
"""From the last fault's end until nothing is left to do."""
GRAVEYARD: Final[list[Any]] = []
"""Dead tasks are kept for as long as the interpreter lives: their `finally` blocks must not run. Runs belong into child processes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a run."""

    violations: Sequence[Violation]
    hash: str
    """Of everything on the log: equal seeds have equal hashes."""
    handles: int
    seconds: float
    """Of virtual time."""
    story: Sequence[str] = ()
    lives: dict[str, int] = field(default_factory=dict)
    """By service: handles of its process's first life."""

    @property
    def rules(self) -> frozenset[str]:
        return frozenset(violation.rule for violation in self.violations)


def run(scenario: Scenario, *, parts: Parts | None = None, deaths: dict[str, list[int]] | None = None, told: bool = False) -> Outcome:
    """One run. `deaths`: at which handles of a process it dies, beside the scenario's own faults; `told`: with its story."""
    loop = SimulatedLoop()
    story = Story(loop.time, wanted=told)
    cluster = Cluster(loop, Random(f"run {scenario.seed}"), story, calm=scenario.calm, idempotent=scenario.idempotent, parts=parts)
    cluster.deaths.update(deaths or {})
    play = Play(scenario, cluster)
    GRAVEYARD.append((loop, cluster, play))
    loop.run_until_complete(play.all())
    return Outcome(
        violations=play.violations,
        hash=play.hash(),
        handles=loop.ran,
        seconds=loop.now,
        story=story.lines(),
        lives=play.first_lives,
    )


class Play:
    def __init__(self, scenario: Scenario, cluster: Cluster) -> None:
        self.scenario = scenario
        self.cluster = cluster
        self.violations: list[Violation] = []
        self.first_lives: dict[str, int] = {}
        self._loop = cluster.loop
        self._outputs = Outputs()
        self._asking: list[asyncio.Task[Any]] = []
        self._clients: dict[str, Client] = {}
        self._seen: list[tuple[str, RequestFinished]] = []
        self._last_fault_s = 0.0
        self._door = Door()
        cluster.broker.on_write = self._written
        cluster.broker.on_read = self._door.handed
        cluster.broker.on_commit = self._committed

    async def all(self) -> None:
        cluster, scenario = self.cluster, self.scenario
        self._set_up()
        for service in SERVICES:
            for number in range(dict(scenario.replicas).get(service, 1)):
                cluster.start(f"{service}-{number}")
        first = dict(cluster.processes)
        clients = Process("client", self._loop)
        begun = clients.spawn(self._open_clients())
        for ask in scenario.asks:
            self._asking.append(clients.spawn(self._ask(ask, begun)))
        for fault in scenario.faults:
            self._schedule(fault)
        quiet = await self._until_quiet()
        self.first_lives = {name: process.handles for name, process in first.items()}
        cluster.restarts = False
        self._judge(quiet)

    def hash(self) -> str:
        digest = hashlib.sha256()
        for partition in sorted(self.cluster.broker.logs):
            for raw in self.cluster.broker.logs[partition]:
                digest.update(repr((partition, raw.offset, raw.timestamp_ms, raw.key, raw.value, sorted(raw.headers.items()))).encode())
        digest.update(repr((self._loop.ran, self._loop.now, [v.ids for v in self.violations])).encode())
        return digest.hexdigest()

    # asking

    def _set_up(self) -> None:
        for fault in self.scenario.faults:
            if fault.kind == "skew":
                self.cluster.skews[fault.what] = int(fault.strength)
            elif fault.kind == "crash":
                self.cluster.deaths.setdefault(fault.what, []).append(int(fault.strength))
            elif fault.kind == "poison" and self.scenario.asks:
                self.cluster.poison[fault.what] = id_of(self.scenario.asks[0])
        self.cluster.write(*configuration(self.scenario.asks), at_ms=EPOCH_MS - 3_600_000)

    async def _open_clients(self) -> None:
        for tenant in sorted({tenant_of(ask) for ask in self.scenario.asks}):
            client = Client(
                tenant=tenant,
                key=KEY if tenant == "signer" else None,
                timeout=TIMEOUT_S,
                broker=self.cluster.broker,
                clock=self.cluster.clock,
                rng=Random(tenant),
            )
            self.cluster.parts.client(client)
            await client.__aenter__()
            self._clients[tenant] = client

    async def _ask(self, ask: Ask, begun: asyncio.Task[None]) -> None:
        await asyncio.wait([begun])
        await asyncio.sleep(max(0.0, ask.at_s + 0.5 - self._loop.now))
        self.cluster.story.tell(f"asks {ask.kind} {id_of(ask)}")
        try:
            await self._submit(ask)
        except ClientError as error:
            self.cluster.story.tell(f"{id_of(ask)}: {error}"[:160])

    async def _submit(self, ask: Ask) -> None:
        if ask.kind in RAW:
            await self._post(RAW[ask.kind](ask, self._first()))
        elif ask.kind in ("document", "removal"):
            await self._document(ask)
        else:
            await self._question(ask)

    async def _document(self, ask: Ask) -> None:
        client, source = self._clients[tenant_of(ask)], "source"
        if ask.kind == "removal":
            await client.remove_document(source, "docs", check=False, document_id=id_of(ask))
        else:
            content = f"What {ask.number % 2} is.\n\nAnd what it is not, {ask.number % 2}."
            await client.add_document(source, content, "docs", check=False, document_id=id_of(ask))

    async def _question(self, ask: Ask) -> None:
        asked = self._first() if ask.kind == "repeat" else ask
        fields = dict(QUESTIONS.get(asked.kind, {}))
        if asked.kind == "short":
            fields["timeout"] = 0.2 + asked.number * 0.4
        # A repeat is the same bytes but for the deadline, which is none of its fingerprint.
        text = "The same question?" if asked.kind in ("equal", "neighbour") else f"Question {asked.number}?"
        result = await self._clients[tenant_of(asked)].ask(text, check=False, request_id=id_of(asked), **fields)
        self.cluster.story.tell(f"{id_of(asked)}: {result.outcome} {result.reason} ({result.served_by})")
        if ask.kind != "repeat":
            self._seen.append((tenant_of(asked), result))

    async def _post(self, record: Outgoing) -> None:
        """As a client without our library: sends until it is acknowledged."""
        sender = self.cluster.broker.sender()
        while True:
            try:
                await sender.send([record])
                return
            except RetryableError:
                await asyncio.sleep(0.3)

    def _first(self) -> Ask:
        return next((ask for ask in self.scenario.asks if ask.kind not in RAW and ask.kind not in NO_REPEAT), Ask(0, "plain", 0.0))

    # what goes wrong

    def _schedule(self, fault: Fault) -> None:
        self._last_fault_s = max(self._last_fault_s, fault.at_s + fault.for_s)
        self.cluster.network.later(fault.at_s, self._strike, fault)

    def _strike(self, fault: Fault) -> None:
        strike = STRIKES.get(fault.kind)
        if strike is not None:
            self.cluster.story.tell(f"fault: {fault}", "-")
            strike(self.cluster, fault)

    # the end

    async def _until_quiet(self) -> bool:
        while True:
            await asyncio.sleep(0.25)
            if self._quiet():
                return True
            if self._loop.now > max(self._last_fault_s, 6.0) + WITHIN_S:
                return False

    def _quiet(self) -> bool:
        cluster = self.cluster
        return (
            self._loop.now > self._last_fault_s
            and all(task.done() for task in self._asking)
            and not any(process.paused for process in cluster.processes.values())
            and cluster.ledger.is_open
            and not cluster.behind()
        )

    def _written(self, raw: Raw) -> None:
        self._outputs.take(raw)
        self._door.take(raw)

    def _committed(self, group: str, partition: Partition, before: int, offset: int) -> None:
        for raw in self.cluster.broker.logs[partition][before:offset]:
            if self._outputs.unfinished(group, raw):
                self.violations.append(unfinished(group, raw, offset))

    def _judge(self, quiet: bool) -> None:
        view = self.view()
        ledger = ledger_view(at_once(self.cluster.ledger.memory.accounts()), {})
        if not quiet:
            self.violations += self._backlog()
        differ = list(differences(view, ledger))
        far_ms = EPOCH_MS + int(self._loop.now * 1000) + 86_400_000
        clocks_ms = sum(abs(skew) for skew in self.cluster.skews.values())
        report = judge(view, differ, now_ms=far_ms, grace_ms=0, with_ledger=True, clocks_ms=clocks_ms)
        self.violations += [
            *report.violations,
            *against_bill(view, self.cluster.providers.bill),
            *self._otherwise(view),
        ]
        self.violations += [*self._index(view), *self._room()]
        if not self.cluster.skews:  # what a predecessor may have let in is told by the time
            self.violations += self._door.violations()

    def view(self) -> View:
        """What the audit would see."""
        view, broker = View(), self.cluster.broker
        for topic in IN_CAUSAL_ORDER:
            for raw in broker.records(topic.name):
                take(view, topic, raw)
        return view

    def _backlog(self) -> Iterator[Violation]:
        for (group, partition), left in sorted(self.cluster.behind().items()):
            detail = f"{group} is {left} behind in {partition.topic}/{partition.number}, {WITHIN_S:.0f} s after the last fault"
            yield Violation(rule="backlog", ids=(group, partition.topic), detail=detail)
        for task in self._asking:
            if not task.done():
                yield Violation(rule="backlog", ids=("client",), detail="a client still waits")

    def _room(self) -> Iterator[Violation]:
        for difference in self.cluster.ledger.differences():
            yield Violation(rule="room_kept", ids=("ledger",), detail=difference)

    def _index(self, view: View) -> Iterator[Violation]:
        """Sources of which the index holds two versions, or a version in part, though all is done."""
        held: dict[tuple[str, str], set[str]] = {}
        versions: dict[tuple[str, str], set[tuple[str, int]]] = {}
        rows = [row.chunk for row in self.cluster.index.rows.values()]
        for chunk in rows:
            held.setdefault((chunk.tenant, chunk.source), set()).add(chunk.chunk_id)
            versions.setdefault((chunk.tenant, chunk.source), set()).add((chunk.version, chunk.count))
        told: set[str] = set()
        for raw in self.cluster.broker.records("document-finished"):
            ended = decode(DOCUMENT_FINISHED, raw.value or b"")
            first = ended.document_id not in told
            told.add(ended.document_id)
            # Where offsets are set back into the middle of a version that was replaced since, it ends once more, incomplete.
            if first and ended.reason == "incomplete_document" and not self.cluster.poison:
                yield Violation(
                    rule="index_differs", ids=(ended.document_id, ended.tenant), detail="a whole document is said to be incomplete"
                )
        for (tenant, source), ids in held.items():
            known = versions[tenant, source]
            if len(known) > 1 or len(ids) != next(iter(known))[1]:
                detail = f"the index holds {len(ids)} chunks of {len(known)} versions"
                yield Violation(rule="index_differs", ids=(source, tenant), detail=detail)

    def _otherwise(self, view: View) -> Iterator[Violation]:
        """What a client was told, and is not the first result on the log. Of an id that two have used, each is told of its own."""
        contested = {id_of(self._first())} if any(ask.kind in ("reused", "repeat") for ask in self.scenario.asks) else set()
        for tenant, result in self._seen:
            if result.request_id in contested:
                continue
            request = view.requests.get((tenant, result.request_id))
            first = None if request is None else request.first
            if first is None or first.outcome != result.outcome:
                was = "nothing" if first is None else first.outcome
                yield Violation(rule="told_otherwise", ids=(result.request_id, tenant), detail=f"told {result.outcome}, on the log {was}")


SIMULATED_RULES: Final = {
    "backlog": "a bounded time after the last fault nothing is left to do",
    "decided_twice": "a request is let in or refused as one too many, and what was let in is not refused afterwards",
    "room_kept": "the ledger's counters hold what is open, and nothing else",
    "index_differs": "the index holds one version of a source, whole",
    "told_otherwise": "a client is told the first result on the log",
}
