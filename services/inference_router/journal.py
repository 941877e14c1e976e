"""What was tried for a request: the attempts on the log, kept in memory for as long as the request may come again. No I/O.

A request comes again when its offset was not committed, or when a service before this one sent it twice; both within
seconds or minutes. So the journal holds the requests touched last, up to a number of bytes (an answer may be large, a
count of requests would bound nothing), and never drops one that is being handled. A request dropped and seen again would
be bought again if its deadline allowed: at 1,000 requests a second of 1 KB answers, the default holds about 90 seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID, uuid5

from daytwo.records import AttemptFinished, AttemptStarted, Message
from services.inference_router.ports import Attempt

NAMESPACE: Final = UUID("6f0f2b0c-6a0e-5e0b-9d5b-1f6c7d2a4b11")
_RECORD_BYTES: Final = 700
"""Of memory, measured: an attempt's start or end without its answer."""

_Key = tuple[int, str, str]


def attempt_id(tenant: str, request_id: str, number: int, router: str = "") -> str:
    """The same for the same attempt of the same router, whoever computes it. A router that was taken for dead and goes on must not
    make an attempt under the id of one that its successor makes: both may be charged."""
    return str(uuid5(NAMESPACE, f"{tenant}/{request_id}/{number}/{router}" if router else f"{tenant}/{request_id}/{number}"))


@dataclass(slots=True)
class Attempts:
    """The attempts of one request, by their ids."""

    started: dict[str, AttemptStarted] = field(default_factory=dict)
    finished: dict[str, AttemptFinished] = field(default_factory=dict)
    continuing: dict[str, int] = field(default_factory=dict)
    """Those another router still makes, and until when at most (epoch milliseconds)."""
    calling: dict[str, int] = field(default_factory=dict)
    """Those made here at this moment, and until when at most."""
    unlogged: set[str] = field(default_factory=set)
    """Finished here, and not known to be on the log."""
    busy: int = 0
    weight: int = _RECORD_BYTES

    def lost(self, now_ms: int | None = None) -> list[AttemptStarted]:
        """Started, without an end, and not going on at another router; `now_ms` None: whether or not they go on."""
        waited_for = self.going_on(now_ms) if now_ms is not None else ()
        return [self.started[each] for each in self._open() if each not in waited_for]

    def going_on(self, now_ms: int) -> list[str]:
        """What another router still makes."""
        return [each for each in self._open() if self.continuing.get(each, 0) > now_ms]

    def ended(self) -> list[AttemptFinished]:
        return sorted(self.finished.values(), key=lambda attempt: attempt.number)

    def next_number(self) -> int:
        return max((record.number for records in (self.started, self.finished) for record in records.values()), default=0) + 1

    @property
    def spent(self) -> int:
        """Attempts that a provider may have seen, of those that were reserved for. What is known not to have been sent is none."""
        unsent = sum(attempt.outcome == "failed" and not attempt.status for attempt in self.finished.values())
        return len(self.started.keys() | self.finished.keys()) - unsent

    def _open(self) -> list[str]:
        return sorted(self.started.keys() - self.finished.keys(), key=lambda each: (self.started[each].number, each))


class Journal:
    """The attempts of all requests of the partitions that this process owns; about `most_bytes` of memory."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._requests: OrderedDict[_Key, Attempts] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._requests)

    def open(self, partition: int, tenant: str, request_id: str) -> Attempts:
        """The attempts of a request that is handled now; `close` must follow."""
        attempts = self._touch((partition, tenant, request_id))
        attempts.busy += 1
        return attempts

    def close(self, attempts: Attempts) -> None:
        attempts.busy -= 1
        self._shrink()

    def peek(self, partition: int, tenant: str, request_id: str) -> Attempts:
        """The attempts of a request; none where it is not known."""
        return self._requests.get((partition, tenant, request_id)) or Attempts()

    def start(self, attempts: Attempts, started: AttemptStarted) -> None:
        attempts.started[started.attempt_id] = started
        self._grow(attempts, _RECORD_BYTES)

    def finish(self, attempts: Attempts, finished: AttemptFinished) -> None:
        """The first end of an attempt is its end."""
        if finished.attempt_id not in attempts.finished:
            attempts.finished[finished.attempt_id] = finished
            self._grow(attempts, _RECORD_BYTES + _bytes(finished.message))

    def load(self, partition: int, record: Attempt) -> None:
        """Takes in what is on the log, in its order."""
        attempts = self._touch((partition, record.tenant, record.request_id))
        if isinstance(record, AttemptFinished):
            self.finish(attempts, record)
            self._shrink()
            return
        if record.attempt_id not in attempts.started:
            self.start(attempts, record)
        if record.continues_until_ms:
            attempts.continuing[record.attempt_id] = record.continues_until_ms
        self._shrink()

    def under_way(self, partition: int) -> list[tuple[AttemptStarted, int]]:
        """The attempts that are made here at this moment for requests of a partition, and until when at most."""
        handled = [attempts for (number, _, _), attempts in self._requests.items() if number == partition and attempts.busy]
        return [(attempts.started[each], until_ms) for attempts in handled for each, until_ms in attempts.calling.items()]

    def release(self, partition: int) -> None:
        """Forgets a partition, but for the requests that are being handled still."""
        for key in [key for key, attempts in self._requests.items() if key[0] == partition and not attempts.busy]:
            self.bytes -= self._requests.pop(key).weight

    def _touch(self, key: _Key) -> Attempts:
        attempts = self._requests.get(key)
        if attempts is None:
            attempts = self._requests[key] = Attempts()
            self.bytes += attempts.weight
        else:
            self._requests.move_to_end(key)
        return attempts

    def _grow(self, attempts: Attempts, size: int) -> None:
        attempts.weight += size
        self.bytes += size

    def _shrink(self) -> None:
        for _ in range(len(self._requests)):
            if self.bytes <= self._most_bytes:
                return
            key, attempts = self._requests.popitem(last=False)
            if attempts.busy:
                self._requests[key] = attempts
            else:
                self.bytes -= attempts.weight


def _bytes(message: Message | None) -> int:
    if message is None:
        return 0
    return len(message.content or "") + sum(len(call.arguments) + _RECORD_BYTES // 2 for call in message.tool_calls)
