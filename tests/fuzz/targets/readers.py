"""Who reads the log: the client and the commands pass over garbage, and say nothing to a terminal that it would obey."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any, Final

from click.testing import CliRunner

from daytwo.broker import Outgoing, Raw
from daytwo.cli import main
from daytwo.cli.site import Site
from daytwo.client import Client
from daytwo.clock import SystemClock
from daytwo.memory import MemoryBroker
from daytwo.records import RequestFinished
from daytwo.topic import Topic
from daytwo.topics import (
    ATTEMPT_FINISHED,
    DEAD_LETTER,
    DOCUMENT_FINISHED,
    REQUEST_ACCEPTED,
    REQUEST_ADMITTED,
    REQUEST_FINISHED,
)
from tests.cli.conftest import FakeCluster
from tests.fuzz.corpus import examples

TOPICS: Final[tuple[Topic[Any], ...]] = (DEAD_LETTER, REQUEST_FINISHED, REQUEST_ACCEPTED, REQUEST_ADMITTED, ATTEMPT_FINISHED)
COMMANDS: Final = (
    ("dead-letters", "list"),
    ("dead-letters", "list", "--json"),
    ("dead-letters", "replay", "--reason", "unreadable", "--dry-run"),
    ("usage", "--by", "tenant,user,model"),
    ("usage", "--json"),
    ("results", "--from-beginning"),
    ("audit", "--no-ledger", "--settle", "1ms"),
    ("audit", "--no-ledger", "--settle", "1ms", "--json"),
)
_OBEYED: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_OURS: Final = "request-of-ours"


def client(data: bytes) -> None:
    """Topic number, lines of key and header ("-": none), then the value of a record that the client reads."""
    topic = (REQUEST_FINISHED, DOCUMENT_FINISHED)[(data[0] if data else 0) % 2]
    key, header, value = (data[1:].split(b"\n", 2) + [b""] * 3)[:3]
    headers = {} if header == b"-" else {"request-id" if topic is REQUEST_FINISHED else "document-id": header}
    asyncio.run(_read(Raw(topic=topic.name, partition=0, offset=0, timestamp_ms=1, key=key, value=value, headers=headers)))


async def _read(raw: Raw) -> None:
    reader = Client(tenant="acme", broker=MemoryBroker(SystemClock()), rng=random.Random(0))
    expected = [mailbox.expect(_OURS, 1.0, taken=True) for mailbox in (reader._requests, reader._documents)]
    reader._take(raw)
    for each in expected:
        if each.arrived.done() and isinstance(result := each.arrived.result(), RequestFinished):
            assert (result.tenant, result.request_id) == ("acme", _OURS)


def command(data: bytes) -> None:
    """Command number, topic number, line of a key, then a value that lies on the log."""
    number, which = (data[:2] + b"\0\0")[:2]
    key, _, value = data[2:].partition(b"\n")
    said = _typed(COMMANDS[number % len(COMMANDS)], Outgoing(topic=TOPICS[which % len(TOPICS)].name, key=key, value=value))
    assert not _OBEYED.search(said), repr(_OBEYED.search(said))


def shown_letter(data: bytes) -> None:
    """The value of a dead letter, shown whole."""
    broker = MemoryBroker(SystemClock())
    broker.append(Outgoing(topic=DEAD_LETTER.name, key=b"k", value=data))
    listed = _run(broker, ("dead-letters", "list", "--json"))
    if listed.strip():
        import json

        said = _run(broker, ("dead-letters", "show", "--", json.loads(listed.splitlines()[0])["id"]))
        assert not _OBEYED.search(said), repr(_OBEYED.search(said))


def _typed(arguments: tuple[str, ...], record: Outgoing) -> str:
    broker = MemoryBroker(SystemClock())
    broker.append(record)
    return _run(broker, arguments)


def _run(broker: MemoryBroker, arguments: tuple[str, ...]) -> str:
    site = Site(env={}, connect=lambda _: broker, administer=lambda _: FakeCluster(), grace=0.1)
    result: Any = CliRunner().invoke(main, list(arguments), obj=site)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return str(result.output)


def client_seeds() -> list[bytes]:
    from daytwo.broker import outgoing

    result = RequestFinished(request_id=_OURS, tenant="acme", outcome="answered", reason="ok", finished_at_ms=1)
    value = outgoing(result).value or b""
    rest = [b"\0acme/s\n-\n" + example for example in examples()[REQUEST_FINISHED.name]]
    rest += [b"\1acme/s\n-\n" + example for example in examples()[DOCUMENT_FINISHED.name]]
    return [b"\0acme/s\n" + _OURS.encode() + b"\n" + value, b"\0acme/s\n-\n" + value, *rest]


def command_seeds() -> list[bytes]:
    values = [(number, value) for number, topic in enumerate(TOPICS) for value in examples()[topic.name]]
    return [bytes([number, which]) + b"k\n" + value for number in range(len(COMMANDS)) for which, value in values]


def shown_letter_seeds() -> list[bytes]:
    return list(examples()[DEAD_LETTER.name])
