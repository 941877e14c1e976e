"""daytwo as a whole: every service as it is, a process each, on twins of what is around it. What is durable outlives a process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from daytwo.broker import Broker, Partition, Raw, Sender, outgoing
from daytwo.client import Client
from daytwo.fate import headers_of
from daytwo.flow import Service, Table
from daytwo.loop import Loop, LoopSettings, loops_of
from daytwo.metrics import Metrics
from daytwo.openings import Openings
from daytwo.records import DocumentSubmitted, LedgerOpened
from daytwo.suspects import Suspects
from daytwo.topic import Record
from daytwo.topics import TENANT_CONFIGURED
from daytwo.world import World
from services.cache import service as cache
from services.cache.settings import Settings as CacheSettings
from services.cost_meter import service as cost_meter
from services.cost_meter.history import History
from services.cost_meter.kafka_log import KafkaLog
from services.cost_meter.keeper import LedgerKeeper
from services.cost_meter.settings import Settings as MeterSettings
from services.embedder import service as embedder
from services.embedder.models import Models
from services.inference_router import service as inference_router
from services.inference_router.kafka_journal import KafkaJournal
from services.inference_router.settings import Settings as RouterSettings
from services.ingest import service as ingest
from services.ingest.chunks import Piece
from services.ingest.kafka_road_ends import KafkaRoadEnds
from services.ingest.settings import Settings as IngestSettings
from services.ingest.shedding import SheddingRules
from services.retriever import service as retriever
from tests.cache.fake_answers import FakeAnswers
from tests.cost_meter.memory_ledger import MemoryLedger
from tests.embedder.toy_model import ToyModel
from tests.retriever.fake_index import FakeIndex
from tests.simulation.broker import SimulatedBroker
from tests.simulation.ledger import HeldTwin, KeptLedger, RemoteLedger
from tests.simulation.loop import Process, SimulatedClock, SimulatedLoop
from tests.simulation.network import Network
from tests.simulation.providers import Providers
from tests.simulation.stores import Remote, RemoteAnswers, RemoteIndex
from tests.simulation.story import Story

METRICS = Metrics()
"""One for all: nothing depends on them, and making them takes as long as a run."""

SLOTS = 64
SHEDDING = SheddingRules(target_ms=400, patience_ms=1_500)
"""Less patient than in production: a run lasts seconds."""
STARTING = 2
"""Calls of a deployment that a router begins at the same time: few, so that some wait."""


class Splitter:
    """Cuts at empty lines, in place."""

    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        text = (document.content or b"").decode()
        return [Piece(part, document.title) for part in text.split("\n\n")]

    async def close(self) -> None:
        return None


@dataclass
class Parts:
    """How the services are put together; sabotages replace some of it (sabotage.py)."""

    service: dict[str, Callable[[Cluster, Process, World], Service]] = field(default_factory=dict)
    broker: Callable[[SimulatedBroker], Broker] = lambda broker: broker
    loop: Callable[[Loop], None] = lambda loop: None
    ledger: type[MemoryLedger] = MemoryLedger
    kept: type[KeptLedger] = KeptLedger
    keeper: type[LedgerKeeper] = LedgerKeeper
    journal: Callable[..., Any] | None = None
    openings: type[Openings] = Openings
    """Of routers."""
    client: Callable[[Client], None] = lambda client: None


class Cluster:
    """What lasts: the log, the ledger, the cache's store, the index, the providers, the marks. And the processes that come and go."""

    def __init__(self, loop: SimulatedLoop, rng: Random, story: Story, *, calm: bool, idempotent: bool, parts: Parts | None = None) -> None:
        self.loop = loop
        self.rng = rng
        self.story = story
        self.clock = SimulatedClock(loop)
        self.network = Network(rng, story, calm=calm, loop=loop)
        self.broker = SimulatedBroker(self.clock, self.network)
        self.answers = FakeAnswers(self.clock)
        self.index = FakeIndex()
        self.remotes = {name: Remote(self.network, name) for name in ("ledger", "answers", "index")}
        self.providers = Providers(self.network, idempotent)
        self.parts = parts or Parts()
        self.ledger = self.parts.kept(self.parts.ledger(), loop.time)
        self.processes: dict[str, Process] = {}
        self.skews: dict[str, int] = {}
        self.deaths: dict[str, list[int]] = {}
        """By process: the handles at which it dies, one life after another."""
        self._marks: dict[str, bytearray] = {}
        self.lives: dict[str, int] = {}
        self.restarts = True
        self.poison: dict[str, str] = {}
        """By service: the id of the request that kills the process that handles it."""
        self.loops: dict[str, list[Loop]] = {}

    def start(self, name: str) -> Process:
        """Starts a process, named SERVICE-NUMBER. One that dies is started again after a while, as a supervisor does."""
        process = Process(name, self.loop, skew_ms=self.skews.get(name, 0))
        self.processes[name] = process
        life = self.lives[name] = self.lives.get(name, 0) + 1
        if deaths := self.deaths.get(name):
            process.dies_at = deaths[life - 1] if life <= len(deaths) else None
        process.on_death = lambda: self._died(process)
        process.spawn(self._run(process))
        self.story.tell("starts", name)
        return process

    def stop(self, name: str) -> None:
        """SIGTERM; it is not started again."""
        process = self.processes[name]
        if process.dead:
            return
        process.on_death = lambda: None
        self.lives[name] = -1000
        for each in self.loops.get(name, ()):
            each.stop()
        self.story.tell("is asked to stop", name)

    def pause(self, name: str) -> None:
        process = self.processes[name]
        process.pause()
        self._missed(process)
        self.story.tell("stands still", name)

    def go_on(self, name: str) -> None:
        process = self.processes[name]
        process.go_on()
        self.story.tell("goes on", name)
        for reader in self.broker.members_of(process):
            reader.member_of.told_again(reader)

    def service_of(self, name: str) -> str:
        return name.rpartition("-")[0]

    def alive(self) -> Iterator[str]:
        for name, process in self.processes.items():
            if not process.dead:
                yield name

    def write(self, *records: Record, at_ms: int | None = None) -> None:
        """As an operator does, at once. `at_ms`: some other time (epoch milliseconds)."""
        for record in records:
            self.broker.write(outgoing(record, headers_of(record)), self.clock.now_ms() if at_ms is None else at_ms)

    def log(self) -> Iterator[Raw]:
        for records in self.broker.logs.values():
            yield from records

    def behind(self) -> dict[tuple[str, Partition], int]:
        """Records that are on the log and not committed, or are read once more, by group and partition."""
        found = {(name, p): 1 for name, group in self.broker.groups.items() for p in group.unread()}
        for loops in self.loops.values():
            for each in loops:
                if each.in_flight() and each.state == "ready":
                    found[each.service.name, Partition(each._inputs[0].topic.name, -1)] = each.in_flight()
        for name, group in self.broker.groups.items():
            for topic in group.topics:
                for partition in self.broker.partitions(topic):
                    if (left := len(self.broker.logs[partition]) - self.broker.offsets.get((name, partition), 0)) > 0:
                        found[name, partition] = left
        return found

    def _died(self, process: Process) -> None:
        self.story.tell("dies", process.name)
        self._missed(process)
        if self.restarts:
            pause = 0.5 if self.network.calm else 0.2 + self.rng.random() * 2
            self.network.later(pause, self.start, process.name)

    def _missed(self, process: Process) -> None:
        for reader in self.broker.members_of(process):
            reader.member_of.missed_later(reader)

    async def _run(self, process: Process) -> None:
        world = World(env={"DAYTWO_INSTANCE": process.name}, clock=process.clock, rng=Random(f"{process.name} {self.lives[process.name]}"))
        broker = self.parts.broker(self.broker)
        service = self._built(process, world, broker)
        sender: Sender = broker.sender()
        settings = LoopSettings(metrics_interval_s=1e9, watch_interval_s=5.0)
        loops = loops_of(service, broker, world, METRICS, sender=sender, settings=settings)
        for number, each in enumerate(loops):
            each._suspects = self._suspects(f"{process.name} {number}")
            self.parts.loop(each)
            if poison := self.poison.get(service.name):
                _poison(each, process, poison.encode())
        self.loops[process.name] = loops
        # As daytwo.run does: where one loop cannot go on, none of the process does, and it is started anew.
        running = [process.spawn(each.run()) for each in loops]
        await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        for each in loops:
            each.stop()
        await asyncio.wait(running)
        self.story.tell("has stopped")
        process.dead = True
        if self.restarts and self.lives[process.name] >= 0:
            self.network.later(1.0, self.start, process.name)

    def _suspects(self, name: str) -> Suspects:
        return Suspects(self._marks.setdefault(name, bytearray(Suspects.size(SLOTS))), SLOTS)

    def _built(self, process: Process, world: World, broker: Broker) -> Service:
        name = self.service_of(process.name)
        return self.parts.service.get(name, BUILDS[name])(self, process, world)


def _poison(loop: Loop, process: Process, request_id: bytes) -> None:
    """The process dies when it begins to handle a record of this request."""
    one, batch = loop._worker.one, loop._worker.batch
    topic = loop.service.inputs[0].topic.name

    def is_poison(raw: Raw) -> bool:
        return raw.topic == topic and raw.headers.get("request-id") == request_id

    async def kills(source: Any, raw: Raw, **rest: Any) -> None:
        if is_poison(raw) and not rest.get("condemned"):
            process.kill()
            await asyncio.sleep(0)
        await one(source, raw, **rest)

    async def kills_batch(source: Any, raws: Sequence[Raw]) -> None:
        if any(map(is_poison, raws)):
            process.kill()
            await asyncio.sleep(0)
        await batch(source, raws)

    loop._worker.one, loop._worker.batch = kills, kills_batch  # type: ignore[method-assign]


def _ingest(cluster: Cluster, process: Process, world: World) -> Service:
    road_ends = KafkaRoadEnds(cluster.broker, world.clock, world.rng)
    return ingest.service(IngestSettings(shedding=SHEDDING), Splitter(), road_ends)


def _cost_meter(cluster: Cluster, process: Process, world: World) -> Service:
    remote, kept = cluster.remotes["ledger"], cluster.ledger
    ledger = RemoteLedger(remote, kept, token=f"{process.name} {cluster.lives[process.name]} ")
    history = History(cluster.broker.reader(), world.clock)
    openings = Openings(cluster.broker.reader(), world.clock)
    sender = cluster.broker.sender()

    async def announce(opening: LedgerOpened) -> None:
        await sender.send([outgoing(opening)])

    keeper = cluster.parts.keeper(ledger, HeldTwin(remote, kept), history, openings, announce, world.clock)
    log = KafkaLog(cluster.broker.reader(), world.clock)
    return cost_meter.service(ledger=ledger, log=log, clock=world.clock, settings=MeterSettings(), keeper=keeper)


def _embedder(cluster: Cluster, process: Process, world: World) -> Service:
    models = Models({"wordllama-256": ToyModel}, max_windows=64)

    async def nothing() -> None:
        return None

    return embedder.service(models.vectors, tenants=Table(TENANT_CONFIGURED), start=nothing, stop=nothing)


def _cache(cluster: Cluster, process: Process, world: World) -> Service:
    async def nothing() -> None:
        return None

    answers = RemoteAnswers(cluster.remotes["answers"], cluster.answers)
    return cache.service(answers, tenants=Table(TENANT_CONFIGURED), clock=world.clock, settings=CacheSettings(), stop=nothing)


def _retriever(cluster: Cluster, process: Process, world: World) -> Service:
    return retriever.service(RemoteIndex(cluster.remotes["index"], cluster.index))


def _router(cluster: Cluster, process: Process, world: World) -> Service:
    journal = KafkaJournal(cluster.broker.reader(), world.clock)
    if cluster.parts.journal is not None:
        journal.read = cluster.parts.journal  # type: ignore[method-assign]
    return inference_router.service(
        provider=cluster.providers,
        reader=journal,
        openings=cluster.parts.openings(cluster.broker.reader(), world.clock),
        clock=world.clock,
        rng=world.rng,
        settings=RouterSettings(most_starting=STARTING),
        name=world.instance("inference-router"),
    )


BUILDS: dict[str, Callable[[Cluster, Process, World], Service]] = {
    "ingest": _ingest,
    "cost-meter": _cost_meter,
    "embedder": _embedder,
    "cache": _cache,
    "retriever": _retriever,
    "inference-router": _router,
}
SERVICES: tuple[str, ...] = tuple(BUILDS)
