"""Plays a scenario and judges what is left of it on the log: the whole of a run, from a seed to its violations."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, Final

from daytwo.audit.bill import against_bill
from daytwo.audit.invariants import Violation
from daytwo.audit.ledger import differences
from daytwo.audit.offsets import Outputs, unfinished
from daytwo.audit.reading import IN_CAUSAL_ORDER, take
from daytwo.audit.report import judge
from daytwo.audit.view import View
from daytwo.broker import Outgoing, Partition, outgoing
from daytwo.client import Client, ClientError
from daytwo.codec import decode
from daytwo.errors import RetryableError
from daytwo.fate import headers_of
from daytwo.records import (
    CachePolicy,
    Cap,
    DeploymentConfigured,
    Message,
    PriceConfigured,
    RequestFinished,
    RequestSubmitted,
    SigningKey,
    TenantConfigured,
)
from daytwo.topics import DOCUMENT_FINISHED
from services.cost_meter.ledger_view import ledger_view
from tests.simulation.cluster import SERVICES, Cluster, Parts
from tests.simulation.loop import EPOCH_MS, Process, SimulatedLoop
from tests.simulation.network import Trouble, at_once
from tests.simulation.providers import Moods
from tests.simulation.scenario import Ask, Fault, Scenario
from tests.simulation.story import Story

KEY: Final = SigningKey(id="k1", secret="a secret of thirty-two characters")
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
        cluster.broker.on_write = self._outputs.take
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
        for skewed in self.scenario.faults:
            if skewed.kind == "skew":
                self.cluster.skews[skewed.what] = int(skewed.strength)
            elif skewed.kind == "crash":
                self.cluster.deaths.setdefault(skewed.what, [int(skewed.strength)])
            elif skewed.kind == "poison" and self.scenario.asks:
                self.cluster.poison[skewed.what] = _id(self.scenario.asks[0])
        self.cluster.write(*TENANTS.values(), *DEPLOYMENTS.values(), *PRICES, at_ms=EPOCH_MS - 3_600_000)

    async def _open_clients(self) -> None:
        for tenant in sorted({_tenant(ask) for ask in self.scenario.asks}):
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
        self.cluster.story.tell(f"asks {ask.kind} {_id(ask)}")
        try:
            await self._submit(ask)
        except ClientError as error:
            self.cluster.story.tell(f"{_id(ask)}: {error}"[:160])

    async def _submit(self, ask: Ask) -> None:
        if ask.kind in RAW:
            await self._post(RAW[ask.kind](ask, self._first()))
        elif ask.kind in ("document", "removal"):
            await self._document(ask)
        else:
            await self._question(ask)

    async def _document(self, ask: Ask) -> None:
        client, source = self._clients[_tenant(ask)], "source"
        if ask.kind == "removal":
            await client.remove_document(source, "docs", check=False, document_id=_id(ask))
        else:
            content = f"What {ask.number % 2} is.\n\nAnd what it is not, {ask.number % 2}."
            await client.add_document(source, content, "docs", check=False, document_id=_id(ask))

    async def _question(self, ask: Ask) -> None:
        asked = self._first() if ask.kind == "repeat" else ask
        fields = dict(QUESTIONS.get(asked.kind, {}))
        if asked.kind == "short":
            fields["timeout"] = 0.2 + asked.number * 0.4
        # A repeat is the same bytes but for the deadline, which is none of its fingerprint.
        text = "The same question?" if asked.kind in ("equal", "neighbour") else f"Question {asked.number}?"
        result = await self._clients[_tenant(asked)].ask(text, check=False, request_id=_id(asked), **fields)
        self.cluster.story.tell(f"{_id(asked)}: {result.outcome} {result.reason} ({result.served_by})")
        if ask.kind != "repeat":
            self._seen.append((_tenant(asked), result))

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
            and not cluster.behind()
        )

    def _committed(self, group: str, partition: Partition, before: int, offset: int) -> None:
        for raw in self.cluster.broker.logs[partition][before:offset]:
            if self._outputs.unfinished(group, raw):
                self.violations.append(unfinished(group, raw, offset))

    def _judge(self, quiet: bool) -> None:
        view = self.view()
        ledger = ledger_view(at_once(self.cluster.memory.accounts()), {})
        if not quiet:
            self.violations += self._backlog()
        differ = list(differences(view, ledger))
        far_ms = EPOCH_MS + int(self._loop.now * 1000) + 86_400_000
        clocks_ms = sum(abs(skew) for skew in self.cluster.skews.values())
        report = judge(view, differ, now_ms=far_ms, grace_ms=0, with_ledger=True, clocks_ms=clocks_ms)
        self.violations += [*report.violations, *against_bill(view, self.cluster.providers.bill), *self._otherwise(view)]
        self.violations += self._index(view)

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

    def _index(self, view: View) -> Iterator[Violation]:
        """Sources of which the index holds two versions, or a version in part, though all is done."""
        held: dict[tuple[str, str], set[str]] = {}
        versions: dict[tuple[str, str], set[tuple[str, int]]] = {}
        rows = [row.chunk for row in self.cluster.index.rows.values()]
        for chunk in rows:
            held.setdefault((chunk.tenant, chunk.source), set()).add(chunk.chunk_id)
            versions.setdefault((chunk.tenant, chunk.source), set()).add((chunk.version, chunk.count))
        for raw in self.cluster.broker.records("document-finished"):
            ended = decode(DOCUMENT_FINISHED, raw.value or b"")
            if ended.reason == "incomplete_document" and not self.cluster.poison:
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
        contested = {_id(self._first())} if any(ask.kind in ("reused", "repeat") for ask in self.scenario.asks) else set()
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
    "index_differs": "the index holds one version of a source, whole",
    "told_otherwise": "a client is told the first result on the log",
}


def _id(ask: Ask) -> str:
    return f"r{ask.number}"


def _tenant(ask: Ask) -> str:
    return {"poor": "poor", "signed": "signer", "unsigned": "signer", "forged": "signer", "stranger": "nobody", "neighbour": "other"}.get(
        ask.kind, "acme"
    )


QUESTIONS: Final[dict[str, dict[str, Any]]] = {
    "session": {"session": "s1"},
    "grounded": {"grounding": "docs"},
    "fresh": {"cache": "refresh"},
    "uncached": {"cache": "off"},
    "invalid": {"max_tokens": 0},
    "no_model": {"model": "nothing"},
}
NO_REPEAT: Final = ("repeat", "document", "removal", "stranger", "invalid", "signed")


def _raw(request: RequestSubmitted) -> Outgoing:
    return outgoing(request, headers_of(request))


def _request(request_id: str, tenant: str, text: str) -> RequestSubmitted:
    return RequestSubmitted(request_id=request_id, tenant=tenant, messages=(Message(role="user", content=text),))


def _reused(ask: Ask, first: Ask) -> Outgoing:
    return _raw(_request(_id(first), _tenant(first), f"Something else, {ask.number}"))


def _garbage(ask: Ask, first: Ask) -> Outgoing:
    record = _raw(_request(_id(ask), "acme", "?"))
    return record._replace(value=(record.value or b"")[:-3], headers=record.headers if ask.number % 2 else {})


RAW: Final[dict[str, Callable[[Ask, Ask], Outgoing]]] = {
    "reused": _reused,
    "garbage": _garbage,
    "unsigned": lambda ask, first: _raw(_request(_id(ask), "signer", "Unsigned?")),
    "forged": lambda ask, first: _raw(_request(_id(first), _tenant(first), "")),
}

TENANTS: Final = {
    "acme": TenantConfigured(tenant="acme", cache=CachePolicy(enabled=True, threshold=0.999, ttl_s=3600)),
    "poor": TenantConfigured(tenant="poor", caps=(Cap(scope="tenant", period="total", limit_nano=3_500_000),)),
    "other": TenantConfigured(tenant="other"),
    "signer": TenantConfigured(tenant="signer", keys=(KEY,)),
}


def _deployment(name: str, priority: int, **fields: Any) -> DeploymentConfigured:
    return DeploymentConfigured(
        deployment=name,
        provider="own",
        model=f"model-{name}",
        base_url=f"http://{name}/v1",
        aliases=("default",),
        priority=priority,
        timeout_ms=6000,
        **fields,
    )


DEPLOYMENTS: Final = {"east": _deployment("east", 0), "west": _deployment("west", 1)}
PRICES: Final = [
    PriceConfigured(
        provider="own",
        model=f"model-{name}",
        valid_from_ms=EPOCH_MS - 86_400_000,
        input_nano_per_mtok=1_000_000_000,
        cached_input_nano_per_mtok=1_000_000_000,
        output_nano_per_mtok=2_000_000_000,
    )
    for name in DEPLOYMENTS
]

Strike = Callable[[Cluster, Fault], None]


def _for_a_while(begin: Callable[[Cluster, Fault], Any], end: Callable[[Cluster, Fault], Any]) -> Strike:
    def strike(cluster: Cluster, fault: Fault) -> None:
        begin(cluster, fault)
        cluster.network.later(fault.for_s, end, cluster, fault)

    return strike


def _trouble(cluster: Cluster, fault: Fault) -> None:
    until = cluster.loop.now + fault.for_s
    cluster.network.troubles.append(
        Trouble(call=fault.what, process="", fate=fault.kind, probability=fault.strength, until=until)  # type: ignore[arg-type]
    )


def _mood(cluster: Cluster, fault: Fault) -> None:
    deployment, _, kind = fault.what.partition(":")
    until = cluster.loop.now + fault.for_s
    cluster.providers.moods.append(Moods(deployment=deployment, kind=kind, probability=fault.strength, until=until))


def _kill_all(cluster: Cluster, fault: Fault) -> None:
    for process in list(cluster.processes.values()):
        process.kill()


def _scale_up(cluster: Cluster, fault: Fault) -> None:
    number = sum(cluster.service_of(name) == fault.what for name in cluster.processes)
    cluster.start(f"{fault.what}-{number}")


def _start_again(cluster: Cluster, fault: Fault) -> None:
    name = f"{fault.what}-0"
    if cluster.lives[name] >= 0:
        return
    if cluster.processes[name].dead:
        cluster.lives[name] = abs(cluster.lives[name])
        cluster.start(name)
    else:
        cluster.network.later(1.0, _start_again, cluster, fault)


def _write(*records: Any) -> Callable[[Cluster, Fault], None]:
    return lambda cluster, fault: cluster.write(*records)


def _down(down: bool) -> Callable[[Cluster, Fault], None]:
    def turn(cluster: Cluster, fault: Fault) -> None:
        cluster.broker.down = down

    return turn


def _away(away: bool) -> Callable[[Cluster, Fault], None]:
    def turn(cluster: Cluster, fault: Fault) -> None:
        cluster.remotes[fault.what].away = away

    return turn


STRIKES: Final[dict[str, Strike]] = {
    "kill": lambda cluster, fault: cluster.processes[fault.what].kill(),
    "kill_all": _kill_all,
    "pause": _for_a_while(lambda c, f: c.pause(f.what), lambda c, f: c.go_on(f.what)),
    "unheard": _trouble,
    "lost": _trouble,
    "slow": _trouble,
    "broker_down": _for_a_while(_down(True), _down(False)),
    "away": _for_a_while(_away(True), _away(False)),
    "emptied": lambda cluster, fault: cluster.answers.lose_everything(),
    "mood": _mood,
    "rebalance": lambda cluster, fault: cluster.broker.groups[fault.what].rebalance() if fault.what in cluster.broker.groups else None,
    "scale_up": _scale_up,
    "scale_down": _for_a_while(lambda c, f: c.stop(f"{f.what}-0"), _start_again),
    "cap_lowered": _write(replace(TENANTS["poor"], caps=(Cap(scope="tenant", period="total", limit_nano=10),))),
    "tenant_off": _for_a_while(
        _write(replace(TENANTS["acme"], active=False)),
        _write(TENANTS["acme"]),
    ),
    "deployment_off": lambda cluster, fault: cluster.write(replace(DEPLOYMENTS[fault.what], active=False)),
}
