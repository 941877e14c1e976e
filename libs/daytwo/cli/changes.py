"""`daytwo changes`"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import show
from daytwo.cli.log import readable, scan
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.records import ConfigurationChanged
from daytwo.topics import CONFIGURATION_CHANGED


@click.command()
@click.argument("key", required=False)
@click.option("--since", "since_ms", type=DurationType(), help="Of the last 15m, 24h, 7d, ...; else all that Kafka keeps (a year).")
@click.option("--by", help="Only what this person did.")
@show.json_option
@click.pass_obj
def command(site: Site, key: str | None, since_ms: int | None, by: str | None, as_json: bool) -> None:
    """Who changed which cap, price or deployment, when, from what to what. KEY: only of this tenant, deployment or price.

    `daytwo apply` records it; secrets are left out. Services follow a change within a second. What was reserved before a cap
    was lowered stays reserved, and nothing new is admitted above it.
    """
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    found = [change for change in site.run(_all(site.broker, start_ms)) if key in (None, change.key) and by in (None, change.by)]
    if as_json:
        show.document([_document(change) for change in found])
        return
    rows = [(show.at(change.at_ms), change.by, change.topic, change.key, line) for change in found for line in differences(change)]
    show.table(("when", "who", "topic", "key", "what"), rows)


async def _all(broker: Broker, since_ms: int | None) -> list[ConfigurationChanged]:
    records = [readable(CONFIGURATION_CHANGED, raw) async for raw in scan(broker, CONFIGURATION_CHANGED, since_ms=since_ms)]
    return [record for record in records if record is not None]


def differences(change: ConfigurationChanged) -> Iterator[str]:
    """What differs, a field a line, for people. A secret that is all that changed shows as `keys`."""
    if not change.before or not change.after:
        yield "added" if change.after else "removed"
        return
    before, after = json.loads(change.before), json.loads(change.after)
    lines = [f"{name}: {_text(before.get(name))} -> {_text(value)}" for name, value in after.items() if before.get(name) != value]
    yield from lines or ["keys: a secret"]


def _text(value: Any) -> str:
    return show.short(json.dumps(value, ensure_ascii=False), 120)


def _document(change: ConfigurationChanged) -> dict[str, Any]:
    fields: dict[str, Any] = show.plain(change)
    return {**fields, "before": json.loads(change.before or "null"), "after": json.loads(change.after or "null")}
