"""`daytwo status`"""

from __future__ import annotations

import asyncio
import http.client
import urllib.parse
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click

from daytwo.broker import Broker, Partition
from daytwo.cli import show
from daytwo.cli.site import Site
from daytwo.cli.supervisor import processes
from daytwo.errors import RetryableError
from daytwo.topics import TOPICS

HEALTH_S = 3.0
OUTSIDE = ("client", "operator", "console", "orchestrator")
"""Readers and writers of topics that are no services with a consumer group of their own here."""

SERVICES = tuple(dict.fromkeys(writer for topic in TOPICS for writer in topic.writers if writer not in OUTSIDE))


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A process. `pid` and `state` are None without a supervisor, `health` for what has no /health; `lag` is that of its group."""

    name: str
    kind: str
    state: str | None
    pid: int | None
    health: str | None
    lag: int | None
    http: str | None
    log: str | None

    @property
    def well(self) -> bool:
        return self.state in (None, "RUNNING") and self.health in (None, "ok")


@click.command()
@show.json_option
@click.pass_obj
def command(site: Site, as_json: bool) -> None:
    """What runs, how it is, and how many records each service is behind.

    The exit code is 1 where something does not run, is not healthy, or Kafka does not answer.
    """
    lags, trouble = site.run(_lags(site))
    programs = site.run(_programs(site, lags))
    addresses = {name: value for name, value in site.stack.items() if isinstance(value, str)} | {"kafka": site.kafka}
    if as_json:
        told = {name: {"lag": sum(lag.values()), "topics": lag} for name, lag in lags.items()}
        kafka = trouble or "ok"
        show.document({"addresses": addresses, "kafka": kafka, "programs": [asdict(p) for p in programs], "services": told})
    else:
        _tell(programs, lags, addresses)
        if not site.stack:
            show.note("no stack was started here (no stack.json): `make up`, or DAYTWO_STATE for another state folder")
        if trouble:
            show.note(f"Kafka does not answer: {trouble}")
    if trouble or not all(program.well for program in programs):
        raise click.exceptions.Exit(1)


def _tell(programs: list[Program], lags: Mapping[str, Mapping[str, int]], addresses: Mapping[str, str]) -> None:
    show.table(("part", "address"), addresses.items())
    if programs:
        rows = [tuple(asdict(program).values())[:-1] for program in programs]
        show.table(("program", "kind", "state", "pid", "health", "lag", "http"), rows, right=("pid", "lag"))
    behind = [(service, topic, lag) for service, topics in lags.items() for topic, lag in topics.items()]
    if behind:
        show.table(("service", "reads", "lag"), behind, right=("lag",))


async def _programs(site: Site, lags: Mapping[str, Mapping[str, int]]) -> list[Program]:
    listed: list[Mapping[str, Any]] = list(site.stack.get("programs", []))
    supervised = await asyncio.to_thread(processes, str(site.stack.get("supervisor", "")))
    health = await asyncio.gather(*[asyncio.to_thread(_health, entry.get("http")) for entry in listed])
    return [_program(entry, supervised.get(entry["name"]), well, lags) for entry, well in zip(listed, health, strict=True)]


def _program(
    entry: Mapping[str, Any], process: Mapping[str, Any] | None, health: str | None, lags: Mapping[str, Mapping[str, int]]
) -> Program:
    lag = lags.get(entry["name"].rpartition("-")[0])
    return Program(
        name=entry["name"],
        kind=entry.get("kind", ""),
        state=process["statename"] if process else None,
        pid=(process["pid"] or None) if process else None,
        health=health,
        lag=None if lag is None else sum(lag.values()),
        http=entry.get("http"),
        log=entry.get("log"),
    )


def _health(address: str | None) -> str | None:
    """ok, or what is wrong; None where there is nothing to ask."""
    if not address:
        return None
    where = urllib.parse.urlsplit(address)
    try:
        connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=HEALTH_S)
        try:
            connection.request("GET", "/health")
            answer = connection.getresponse()
            return "ok" if answer.status == 200 else f"HTTP {answer.status}"
        finally:
            connection.close()
    except (OSError, ValueError, http.client.HTTPException) as error:
        return f"no answer ({type(error).__name__})"


async def _lags(site: Site) -> tuple[dict[str, dict[str, int]], str]:
    """Records each service is behind, by topic; and what is wrong with Kafka, or nothing."""
    try:
        committed = await site.cluster.committed(SERVICES)
        return await lag_of(site.broker, committed), ""
    except RetryableError as error:
        return {}, error.detail


async def lag_of(broker: Broker, committed: Mapping[str, Mapping[Partition, int]]) -> dict[str, dict[str, int]]:
    """By service and topic; a partition of which nothing was committed counts from its first record. Only topics the group reads."""
    reader = broker.reader()
    await reader.start()
    try:
        lags: dict[str, dict[str, int]] = {}
        for service, offsets in committed.items():
            for topic in dict.fromkeys(partition.topic for partition in offsets):
                partitions = await reader.partitions(topic)
                ends = await reader.ends(partitions)
                starts = await reader.offsets_at(partitions, 0)
                behind = sum(max(0, ends[p] - max(offsets.get(p, 0), starts[p])) for p in partitions)
                lags.setdefault(service, {})[topic] = behind
        return lags
    finally:
        await reader.stop()
