"""What must become of any record that reaches ingest, whatever is in it; and a worker that notes what became of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from contextvars import ContextVar
from random import Random
from typing import Any, Final, NamedTuple

from daytwo.broker import GroupReader, Outgoing, Raw, Sender
from daytwo.clock import Clock, SystemClock
from daytwo.codec import decode
from daytwo.errors import UnreadableError
from daytwo.fate import DOCUMENT_ID_HEADER, MOST_BYTES_KEPT, REQUEST_ID_HEADER
from daytwo.flow import Input, Output
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.reasons import REASONS
from daytwo.records import ChunkAccepted, DeadLetter, DocumentFinished, RequestAccepted, RequestFinished
from daytwo.topic import Record
from daytwo.topics import REQUEST_SUBMITTED, TOPIC_NAMED
from daytwo.work import Worker

LONGEST_ID: Final = 256


class Finding(AssertionError):  # noqa: N818 - a fuzzer's word
    """A record has another fate than it must have."""


class Place(NamedTuple):
    topic: str
    partition: int
    offset: int


def place_of(raw: Raw) -> Place:
    return Place(raw.topic, raw.partition, raw.offset)


_HANDLED: ContextVar[list[Output]] = ContextVar("what the record that is handled now has led to")


class NotingWorker(Worker):
    """A worker that judges each record's fate when it is done, and counts them."""

    def __init__(self, sender: Sender, clock: Clock, rng: Random, metrics: Metrics, group: GroupReader) -> None:
        super().__init__("ingest", sender, clock, rng, metrics, group)
        self.done = 0
        self.fates: Counter[str] = Counter()
        self.findings: list[tuple[Place, str]] = []

    async def one(self, source: Input[Any], raw: Raw, *, condemned: bool = False) -> None:
        outputs: list[Output] = []
        _HANDLED.set(outputs)
        await super().one(source, raw, condemned=condemned)
        try:
            self.fates[fate_of(raw, outputs)] += 1
        except Finding as finding:
            self.findings.append((place_of(raw), str(finding)))
        self.done += 1

    async def send(self, outputs: Sequence[Output]) -> None:
        await super().send(outputs)
        if (handled := _HANDLED.get(None)) is not None:
            handled.extend(outputs)


def fate_of(raw: Raw, outputs: Sequence[Output]) -> str:
    """The record's fate, as it is counted. Raises Finding for one that must not be."""
    letters = [output for output in outputs if isinstance(output, DeadLetter)]
    rest = [output for output in outputs if not isinstance(output, DeadLetter)]
    if letters:
        return _set_aside(raw, letters, rest)
    if not rest:
        raise Finding("nothing became of it")
    first = rest[0]
    if isinstance(first, RequestFinished | DocumentFinished):
        return _ended(first, rest)
    if isinstance(first, RequestAccepted) and len(rest) == 1:
        return "accepted"
    if isinstance(first, ChunkAccepted) and len(rest) == max(1, first.count):
        return "split"
    raise Finding(f"{len(rest)} outputs: {type(first).__name__}")


def _ended(end: RequestFinished | DocumentFinished, rest: Sequence[Output]) -> str:
    if len(rest) != 1:
        raise Finding(f"{len(rest)} results")
    if end.reason not in REASONS or end.reason in ("ok", "internal_error"):
        raise Finding(f"a result with the reason {end.reason}: {end.detail}")
    return f"{end.outcome}: {end.reason}"


def _set_aside(raw: Raw, letters: Sequence[DeadLetter], rest: Sequence[Output]) -> str:
    letter = letters[0]
    if len(letters) != 1 or len(rest) > 1:
        raise Finding(f"{len(letters)} dead letters and {len(rest)} results")
    if letter.reason not in REASONS or letter.reason == "internal_error":
        raise Finding(f"a dead letter with the reason {letter.reason}: {letter.detail}\n{letter.traceback}")
    if place_of(raw) != Place(letter.topic, letter.partition, letter.offset) or not _same_bytes(raw, letter):
        raise Finding("a dead letter that is not the record")
    if not rest and _says_whose_it_is(raw):
        raise Finding("its id can be read, and it has no result")
    if rest and (not isinstance(rest[0], RequestFinished | DocumentFinished) or _ended(rest[0], rest) != f"refused: {letter.reason}"):
        raise Finding(f"a dead letter for {letter.reason}, and beside it {rest[0]}")
    return f"dead letter: {letter.reason}{', with a result' if rest else ''}"


def _same_bytes(raw: Raw, letter: DeadLetter) -> bool:
    if len(raw.value or b"") > MOST_BYTES_KEPT - (1 << 20):
        return True
    return (letter.key, letter.value, dict(letter.headers)) == (raw.key, raw.value, dict(raw.headers))


def _says_whose_it_is(raw: Raw) -> bool:
    if raw.headers.get(REQUEST_ID_HEADER if raw.topic == REQUEST_SUBMITTED.name else DOCUMENT_ID_HEADER):
        return True
    try:
        decode(TOPIC_NAMED[raw.topic], raw.value or b"", strict=True)
    except UnreadableError as error:
        return error.partial is not None
    return True


class KeepingSender:
    """Takes what fits its topic, as the broker does, and keeps none of it."""

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    async def send(self, records: Sequence[Outgoing]) -> Sequence[tuple[int, int]]:
        for record in records:
            check_fits(record)
        return [(0, 0) for _ in records]


def nobody() -> GroupReader:
    """A group for a worker that is handed its records."""
    return MemoryBroker(SystemClock()).group("ingest", "none", [])


def check_fits(record: Outgoing) -> None:
    """Raises Finding for what Kafka would not take, or no reader could read."""
    topic = TOPIC_NAMED[record.topic]
    headers = sum(len(name.encode()) + len(value) for name, value in record.headers.items())
    if len(record.value or b"") + len(record.key or b"") + headers > topic.max_bytes + 65_536:
        raise Finding(f"a record of {topic.name} that is too large for it")
    if "client" in topic.writers:
        return
    with suppress(UnreadableError):
        if _read(record):
            return
    raise Finding(f"a record of {topic.name} that cannot be read")


def _read(record: Outgoing) -> Record:
    read: Record = decode(TOPIC_NAMED[record.topic], record.value or b"")
    return read
