"""`daytwo apply FILE`"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import click

from daytwo.broker import Broker, outgoing
from daytwo.cli import show
from daytwo.cli.log import readable, scan
from daytwo.cli.site import Site
from daytwo.config_file import Config, ConfigError, load
from daytwo.flow import Tombstone
from daytwo.topic import Topic
from daytwo.topics import TOPIC_NAMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key of a configuration topic. `fields` are those that differ; never their values, which may be secret."""

    topic: str
    key: str
    change: Literal["added", "changed", "removed", "unchanged"]
    fields: tuple[str, ...] = ()
    record: Any = None


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only check the file and show what would change.")
@show.json_option
@click.pass_obj
def command(site: Site, file: Path, dry_run: bool, as_json: bool) -> None:
    """Check FILE (daytwo.yaml) and publish what changed: tenants, deployments and prices.

    Every problem is named at once, with line and column; then nothing is published. A section that is there is the
    whole truth of its kind: what it no longer names is removed. A section that is not there is left alone. Services
    follow live. docs/configuration.md lists every key.
    """
    config = _checked(file, site, as_json)
    changes = site.run(_apply(site.broker, config, dry_run=dry_run))
    if as_json:
        told = [{"topic": c.topic, "key": c.key, "change": c.change, "fields": list(c.fields)} for c in changes]
        show.document({"file": str(file), "dry_run": dry_run, "changes": told, "warnings": [str(w) for w in config.warnings]})
    else:
        _tell(changes, dry_run)


def _checked(file: Path, site: Site, as_json: bool) -> Config:
    try:
        config = load(file, site.env)
    except ConfigError as error:
        if as_json:
            show.document({"file": str(file), "problems": [asdict(problem) for problem in error.problems]})
        for problem in error.problems:
            show.note(str(problem))
        raise click.exceptions.Exit(1) from error
    for warning in config.warnings:
        show.note(f"warning: {warning}")
    return config


async def _apply(broker: Broker, config: Config, *, dry_run: bool) -> list[Change]:
    changes: list[Change] = []
    for name, wanted in config.records.items():
        topic = TOPIC_NAMED[name]
        changes += difference(topic, await current(broker, topic), wanted)
    outputs = [
        Tombstone(topic=TOPIC_NAMED[change.topic], key=change.key) if change.record is None else change.record
        for change in changes
        if change.change != "unchanged"
    ]
    if outputs and not dry_run:
        sender = broker.sender()
        await sender.start()
        try:
            await sender.send([outgoing(output) for output in outputs])
        finally:
            await sender.stop()
    return changes


async def current(broker: Broker, topic: Topic[Any]) -> dict[str, Any]:
    """What the compacted topic holds by key; None for what cannot be read any more."""
    rows: dict[str, Any] = {}
    async for raw in scan(broker, topic):
        key = (raw.key or b"").decode(errors="replace")
        if raw.value is None:
            rows.pop(key, None)
        else:
            rows[key] = readable(topic, raw)
    return rows


def difference(topic: Topic[Any], there: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Change]:
    """One change a key, also for those that stay as they are; in the order of the keys."""
    changes = []
    for key in sorted(there.keys() | wanted.keys()):
        record = wanted.get(key)
        if record is None:
            changes.append(Change(topic=topic.name, key=key, change="removed"))
        elif key not in there:
            changes.append(Change(topic=topic.name, key=key, change="added", record=record))
        else:
            fields = _differing(there[key], record)
            changes.append(Change(topic=topic.name, key=key, change="changed" if fields else "unchanged", fields=fields, record=record))
    return changes


def _differing(there: Any, wanted: Any) -> tuple[str, ...]:
    new = asdict(wanted)
    old = asdict(there) if there is not None else {}
    return tuple(name for name in new if name not in old or old[name] != new[name])


def _tell(changes: list[Change], dry_run: bool) -> None:
    rows = [(c.change, c.topic, c.key, ", ".join(c.fields)) for c in changes]
    if rows:
        show.table(("change", "topic", "key", "fields"), rows)
    counts = {kind: sum(c.change == kind for c in changes) for kind in ("added", "changed", "removed", "unchanged")}
    summary = ", ".join(f"{count} {kind}" for kind, count in counts.items())
    show.note(f"{summary}{'; nothing was published (--dry-run)' if dry_run else ''}")
