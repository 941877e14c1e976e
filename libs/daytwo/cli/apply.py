"""`daytwo apply FILE`"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
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
from daytwo.records import ConfigurationChanged
from daytwo.topic import Topic
from daytwo.topics import TOPIC_NAMED


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One key of a configuration topic. `fields` are those that differ; never their values, which may be secret."""

    topic: str
    key: str
    change: Literal["added", "changed", "removed", "unchanged"]
    fields: tuple[str, ...] = ()
    before: Any = None
    record: Any = None


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--dry-run", is_flag=True, help="Only check the file and show what would change.")
@click.option("--by", help="Who does it, for the record. Else the user and machine this runs on.")
@show.json_option
@click.pass_obj
def command(site: Site, file: Path, dry_run: bool, by: str | None, as_json: bool) -> None:
    """Check FILE (daytwo.yaml) and publish what changed: tenants, deployments and prices.

    Every problem is named at once, with line and column; then nothing is published. A section that is there is the
    whole truth of its kind: what it no longer names is removed. A section that is not there is left alone. Services
    follow live, within a second. Who changed what is kept: `daytwo changes`. docs/configuration.md lists every key.
    """
    config = checked(file, site, as_json)
    changes = site.run(_changes(site.broker, config))
    if not dry_run:
        history = recorded(changes, by=by or site.who, source=str(file), at_ms=site.clock.now_ms(), change_id=str(uuid.uuid4()))
        site.run(_publish(site.broker, changes, history))
    if as_json:
        told = [{"topic": c.topic, "key": c.key, "change": c.change, "fields": list(c.fields)} for c in changes]
        show.document({"file": str(file), "dry_run": dry_run, "changes": told, "warnings": [str(w) for w in config.warnings]})
    else:
        _tell(changes, dry_run)


def checked(file: Path, site: Site, as_json: bool) -> Config:
    """What the file says; where it is wrong, all problems are told, and the command ends."""
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


async def _changes(broker: Broker, config: Config) -> list[Change]:
    changes: list[Change] = []
    for name, wanted in config.records.items():
        topic = TOPIC_NAMED[name]
        changes += difference(topic, await current(broker, topic), wanted)
    return changes


async def _publish(broker: Broker, changes: Sequence[Change], history: Sequence[ConfigurationChanged]) -> None:
    """The history first: of what is in force it is always known who put it there."""
    outputs = [
        Tombstone(topic=TOPIC_NAMED[change.topic], key=change.key) if change.record is None else change.record
        for change in changes
        if change.change != "unchanged"
    ]
    if not outputs:
        return
    sender = broker.sender()
    await sender.start()
    try:
        await sender.send([outgoing(change) for change in history])
        await sender.send([outgoing(output) for output in outputs])
    finally:
        await sender.stop()


def recorded(changes: Iterable[Change], *, by: str, source: str, at_ms: int, change_id: str) -> list[ConfigurationChanged]:
    """The history of what changes, without secrets."""
    return [
        ConfigurationChanged(
            change_id=change_id,
            topic=change.topic,
            key=change.key,
            before=_told(change.before),
            after=_told(change.record),
            by=by,
            source=source,
            at_ms=at_ms,
        )
        for change in changes
        if change.change != "unchanged"
    ]


def _told(record: Any) -> str:
    """JSON of a record, without the secrets of its keys; empty for none."""
    if record is None:
        return ""
    fields = asdict(record)
    if "keys" in fields:
        fields["keys"] = [{"id": key["id"]} for key in fields["keys"]]
    return json.dumps(fields, ensure_ascii=False)


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
            changes.append(Change(topic=topic.name, key=key, change="removed", before=there[key]))
        elif key not in there:
            changes.append(Change(topic=topic.name, key=key, change="added", record=record))
        else:
            fields = _differing(there[key], record)
            change: Literal["changed", "unchanged"] = "changed" if fields else "unchanged"
            changes.append(Change(topic=topic.name, key=key, change=change, fields=fields, before=there[key], record=record))
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
