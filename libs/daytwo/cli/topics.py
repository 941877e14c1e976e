"""`daytwo topics`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass

import click

from daytwo.broker import Broker
from daytwo.cli import show
from daytwo.cli.site import Site
from daytwo.provision import ROAD_PARTITIONS, partitions_of
from daytwo.topics import REQUEST_SUBMITTED, TOPIC_NAMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A topic as declared and as it is; None where it is not. `records` counts what is kept, gaps of compaction included."""

    topic: str
    state: str
    declared: int | None
    partitions: int | None
    records: int | None


@click.command()
@show.json_option
@click.pass_obj
def command(site: Site, as_json: bool) -> None:
    """Compare the topics that are declared in schemas/topics.yaml with those that exist.

    The exit code is 1 where one is missing or has another number of partitions than declared.
    """
    rows = site.run(_rows(site))
    if as_json:
        show.document([asdict(row) for row in rows])
    else:
        columns = ("topic", "state", "declared", "partitions", "records")
        show.table(columns, [tuple(asdict(row).values()) for row in rows], right=columns[2:])
    if any(row.state in ("missing", "differs") for row in rows):
        raise click.exceptions.Exit(1)


async def _rows(site: Site) -> list[Row]:
    existing = await site.cluster.topics()
    records = await _records(site.broker, [name for name in TOPIC_NAMED if name in existing])
    return list(compare(existing, records))


def compare(existing: Mapping[str, int], records: Mapping[str, int]) -> Iterator[Row]:
    """Declared topics in their order, then those that nobody declared. All topics of the road must have as many partitions as its first."""
    road = existing.get(REQUEST_SUBMITTED.name, ROAD_PARTITIONS)
    for name, topic in TOPIC_NAMED.items():
        there = existing.get(name)
        wanted = partitions_of(topic, road)
        state = "missing" if there is None else "ok" if there == wanted else "differs"
        yield Row(topic=name, state=state, declared=wanted, partitions=there, records=records.get(name))
    for name in sorted(existing.keys() - TOPIC_NAMED.keys()):
        yield Row(topic=name, state="not declared", declared=None, partitions=existing[name], records=None)


async def _records(broker: Broker, names: list[str]) -> dict[str, int]:
    reader = broker.reader()
    await reader.start()
    try:
        counts = {}
        for name in names:
            partitions = await reader.partitions(name)
            ends = await reader.ends(partitions)
            starts = await reader.offsets_at(partitions, 0)
            counts[name] = sum(ends.values()) - sum(starts.values())
        return counts
    finally:
        await reader.stop()
