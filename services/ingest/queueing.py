"""How long a request that is let in now will wait before its provider is called. Pure.

What was let in and has not been taken up is a queue, wherever on the road it lies. One request every few milliseconds is a probe: when
it is taken up (its first attempt begins) or ends, what was let in with it has left the queue. So the length of the queue is known
at every moment, and the rate at which it is worked off whenever it is long; by Little's law their ratio is what a newcomer waits.

A rate is no capacity where nothing waits, so there is none before most of what is taken up has waited a while. Nor is a
standstill: while nothing is taken up, what was known stays, for a minute.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

PROBE_EVERY_MS: Final = 50
WINDOW_MS: Final = 3_000
"""What passed within so long tells the rate."""
LEAST_SPAN_MS: Final = 1_000
FORGOTTEN_MS: Final = 60_000
"""After so long without anything taken up, what was known is no longer."""
_QUICK_SHARE: Final = 0.25


class _Probe(NamedTuple):
    since_ms: int
    weight: int
    """Requests it stands for: those let in since the probe before."""


class _Passed(NamedTuple):
    at_ms: int
    weight: int
    waited_ms: int | None
    """Until it was taken up; None: it ended without, which may have been the end of any wait, as that for an equal question."""


class Queue:
    """`long_ms`: where most wait so long, there is a queue; it is gone where most wait less than a quarter of it."""

    def __init__(self, long_ms: int) -> None:
        self._long_ms = long_ms
        self._open: dict[bytes, _Probe] = {}
        self._passed: deque[_Passed] = deque()
        self._waiting = 0
        self._since_probe = 0
        self._probed_ms = 0
        self._newest_ms = 0
        self._queued = False
        self._per_ms = 0.0

    def let_in(self, request_id: bytes, now_ms: int) -> bool:
        """Counts a request in; True where it is a probe, of which `taken_up` or `ended` wants to hear."""
        self._since_probe += 1
        if now_ms - self._probed_ms < PROBE_EVERY_MS:
            return False
        self._probed_ms = now_ms
        self._open[request_id] = _Probe(now_ms, self._since_probe)
        self._waiting += self._since_probe
        self._since_probe = 0
        return True

    def taken_up(self, request_id: bytes, at_ms: int) -> None:
        """The probe's first attempt began."""
        if (probe := self._open.pop(request_id, None)) is not None:
            self._pass(_Passed(at_ms, probe.weight, at_ms - probe.since_ms))

    def ended(self, request_id: bytes, at_ms: int) -> None:
        """The probe has its result, without having been taken up."""
        if (probe := self._open.pop(request_id, None)) is not None:
            self._pass(_Passed(at_ms, probe.weight, None))

    def lost(self, request_id: bytes) -> None:
        """Nothing is heard of the probe any more."""
        if (probe := self._open.pop(request_id, None)) is not None:
            self._waiting -= probe.weight

    def wait_ms(self, now_ms: int) -> float:
        """What a request let in now would wait; 0 where no queue is known."""
        if not self._queued:
            return 0.0
        if now_ms - self._newest_ms > FORGOTTEN_MS:
            self._queued = False
            return 0.0
        return self._waiting / self._per_ms

    def _pass(self, passed: _Passed) -> None:
        self._waiting -= passed.weight
        self._newest_ms = max(self._newest_ms, passed.at_ms)
        self._passed.append(passed)
        while self._passed[0].at_ms < self._newest_ms - WINDOW_MS:
            self._passed.popleft()
        self._judge()

    def _judge(self) -> None:
        """Whether there is a queue, and how quickly it is worked off."""
        quick_ms = self._long_ms * _QUICK_SHARE
        told = [passed for passed in self._passed if passed.waited_ms is not None]
        total = sum(passed.weight for passed in told)
        quick = sum(passed.weight for passed in told if (passed.waited_ms or 0) < quick_ms)
        long = sum(passed.weight for passed in told if (passed.waited_ms or 0) >= self._long_ms)
        busy = [passed for passed in self._passed if passed.waited_ms is None or passed.waited_ms >= quick_ms]
        span_ms = max((passed.at_ms for passed in busy), default=0) - min((passed.at_ms for passed in busy), default=0)
        if span_ms >= LEAST_SPAN_MS:
            self._per_ms = (sum(passed.weight for passed in busy) - busy[0].weight) / span_ms
        if 2 * quick > total:
            self._queued = False
        elif 2 * long > total and span_ms >= LEAST_SPAN_MS:
            self._queued = self._per_ms > 0
