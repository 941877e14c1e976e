"""`daytwo dead-letters list`, `show` and `replay`"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import click

from daytwo.broker import Broker, Outgoing
from daytwo.cli import show
from daytwo.cli.log import readable, scan
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.records import DeadLetter
from daytwo.topics import DEAD_LETTER


@click.group()
def command() -> None:
    """List, show and replay what could not be processed.

    The id of a dead letter is where the record was read: TOPIC/PARTITION/OFFSET.
    """


def name(letter: DeadLetter) -> str:
    return DEAD_LETTER.key(letter)


@command.command(name="list")
@click.option("--reason", help="Only those with this reason code.")
@click.option("--tenant", help="Only those of this tenant.")
@click.option("--topic", help="Only records of this topic.")
@click.option("--since", "since_ms", type=DurationType(), help="Those of the last 15m, 24h, 7d, ...")
@show.json_option
@click.pass_obj
def list_(site: Site, reason: str | None, tenant: str | None, topic: str | None, since_ms: int | None, as_json: bool) -> None:
    """List them, oldest first. With --json one object a line, without the bytes."""
    letters = _since(site, since_ms)
    found = [
        letter
        for letter in letters.values()
        if reason in (None, letter.reason) and tenant in (None, letter.tenant) and topic in (None, letter.topic)
    ]
    if as_json:
        for letter in found:
            show.line({"id": name(letter), **_without_bytes(letter)})
        return
    columns = ("at", "id", "service", "reason", "tenant", "request", "detail")
    show.table(columns, [_row(letter) for letter in found])
    show.note(f"{len(found)} dead letters; `daytwo dead-letters show ID` tells all of one")


@command.command(name="show")
@click.argument("letter_id", metavar="ID")
@show.json_option
@click.pass_obj
def show_(site: Site, letter_id: str, as_json: bool) -> None:
    """Show all of one. With --json key, value and headers are base64."""
    letter = _named(_since(site, None), [letter_id])[0]
    if as_json:
        show.document({"id": name(letter), **show.plain(letter)})
        return
    for field, value in _without_bytes(letter).items():
        if value not in ("", None) and field != "traceback":
            click.echo(f"{field:>14}  {show.clean(value)}")
    for field, data in (("key", letter.key), *letter.headers.items(), ("value", letter.value)):
        click.echo(f"{show.clean(field):>14}  {_preview(data)}")
    show.say(letter.traceback)


@command.command()
@click.argument("letter_ids", metavar="ID...", nargs=-1)
@click.option("--reason", help="All with this reason code.")
@click.option("--since", "since_ms", type=DurationType(), help="With --reason: only those of the last 15m, 24h, 7d, ...")
@click.option("--dry-run", is_flag=True, help="Only tell what would be sent.")
@show.json_option
@click.pass_obj
def replay(site: Site, letter_ids: tuple[str, ...], reason: str | None, since_ms: int | None, dry_run: bool, as_json: bool) -> None:
    """Send the original bytes to the original topic again, once the cause is gone.

    A request that has ended has its result already, and the first result counts: replaying it repairs state that
    later services missed, and gives nobody a second answer. To ask again, submit with a new request id.
    """
    if bool(letter_ids) == bool(reason):
        raise click.UsageError("either IDs or --reason")
    letters = _since(site, since_ms)
    found = _named(letters, letter_ids) if letter_ids else [letter for letter in letters.values() if letter.reason == reason]
    if empty := [letter for letter in found if letter.value is None]:
        show.note(f"{len(empty)} have no bytes to send: {', '.join(map(name, empty[:3]))}{', ...' if len(empty) > 3 else ''}")
        found = [letter for letter in found if letter.value is not None]
    if not dry_run and found:
        site.run(_send(site.broker, found))
    if as_json:
        show.document({"dry_run": dry_run, "replayed": [name(letter) for letter in found]})
    else:
        for letter in found:
            click.echo(show.clean(f"{name(letter)} -> {letter.topic}"))
        show.note(f"{len(found)} {'would be ' if dry_run else ''}replayed")


def _since(site: Site, since_ms: int | None) -> dict[str, DeadLetter]:
    """By id, oldest first; one record that was set aside twice is there once."""
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    letters = site.run(_read(site.broker, start_ms))
    return {name(letter): letter for letter in sorted(letters, key=lambda letter: letter.failed_at_ms)}


async def _read(broker: Broker, since_ms: int | None) -> list[DeadLetter]:
    return [letter async for raw in scan(broker, DEAD_LETTER, since_ms=since_ms) if (letter := readable(DEAD_LETTER, raw))]


def _named(letters: dict[str, DeadLetter], letter_ids: Collection[str]) -> list[DeadLetter]:
    if missing := [letter_id for letter_id in letter_ids if letter_id not in letters]:
        raise click.ClickException(f"no such dead letter: {', '.join(missing)}; `daytwo dead-letters list` names them")
    return [letters[letter_id] for letter_id in letter_ids]


async def _send(broker: Broker, letters: list[DeadLetter]) -> None:
    sender = broker.sender()
    await sender.start()
    try:
        originals = [Outgoing(topic=letter.topic, key=letter.key, value=letter.value, headers=letter.headers) for letter in letters]
        await sender.send(originals)
    finally:
        await sender.stop()


def _without_bytes(letter: DeadLetter) -> dict[str, Any]:
    return {field: value for field, value in show.plain(letter).items() if field not in ("key", "value", "headers")}


def _row(letter: DeadLetter) -> tuple[Any, ...]:
    detail = show.short(letter.detail)
    return (show.at(letter.failed_at_ms), name(letter), letter.service, letter.reason, letter.tenant, letter.request_id, detail)


def _preview(data: bytes | None, most: int = 2000) -> str:
    if data is None:
        return "none"
    text = show.clean(data[:most].decode("utf-8", "replace"))
    return f"{len(data)} bytes: {text}{'…' if len(data) > most else ''}"
