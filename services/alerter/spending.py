"""What was used in the windows of caps, and in the last minute. Pure.

The windows are a fold of results over what usage-windowed knew when a counter was first asked for: usage-windowed publishes a day
that is still open only every few minutes, and a runaway workflow does not wait for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from daytwo.money.history import History, period_end, period_start
from services.alerter.limits import Limit

MINUTE_MS: Final = 60_000

Place = tuple[str, str, str]
"""Tenant, scope, subject."""


class Ended(NamedTuple):
    """What counts of a result. `at_ms`: its timestamp, epoch milliseconds; `subjects` by scope, the tenant's own is empty."""

    request_id: str
    subjects: Mapping[str, str]
    at_ms: int
    nano: int
    tokens: int


def ended_of(row: Mapping[str, Any], at_ms: int) -> Ended:
    """Of the leading fields of request-finished."""
    subjects = {"tenant": "", **{name: row[name] for name in ("user", "workflow", "session", "agent")}}
    usage = row["usage"]
    return Ended(row["request_id"], subjects, at_ms, row["cost_nano"], usage["input_tokens"] + usage["output_tokens"])


def place_of(limit: Limit) -> Place:
    return limit.tenant, limit.scope, limit.subject


@dataclass(slots=True)
class _Counter:
    """Of one window: nano-dollars and tokens, and until when (epoch milliseconds) usage-windowed had counted."""

    nano: int
    tokens: int
    known_ms: int
    starts_ms: int
    ends_ms: int | None


@dataclass(slots=True)
class _Minute:
    """Costs of the last sixty seconds of event time, as (epoch milliseconds, nano-dollars)."""

    costs: deque[tuple[int, int]] = field(default_factory=deque)
    total_nano: int = 0

    def add(self, at_ms: int, nano: int) -> None:
        self.costs.append((at_ms, nano))
        self.total_nano += nano

    def until(self, now_ms: int) -> None:
        while self.costs and self.costs[0][0] <= now_ms - MINUTE_MS:
            self.total_nano -= self.costs.popleft()[1]


class Spending:
    """Memory: one counter a capped subject and period, and the last minute of a subject."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._counters: dict[tuple[Place, str], _Counter] = {}
        self._minutes: dict[Place, _Minute] = {}

    def add(self, limit: Limit, result: Ended) -> None:
        """Counts a result in the window of a cap; what usage-windowed has counted already is not counted again."""
        counter = self._counter(limit, result.at_ms)
        if result.at_ms > counter.known_ms and result.at_ms >= counter.starts_ms:
            counter.nano += result.nano
            counter.tokens += result.tokens

    def add_minute(self, place: Place, at_ms: int, nano: int) -> None:
        minute = self._minutes.setdefault(place, _Minute())
        minute.add(at_ms, nano)
        minute.until(at_ms)

    def used(self, limit: Limit, now_ms: int) -> int:
        counter = self._counter(limit, now_ms)
        totals = self._history.used(place_of(limit), limit.period, now_ms)
        return max(counter.nano, totals.cost_nano) if limit.unit == "nano_dollars" else max(counter.tokens, totals.tokens)

    def last_minute(self, place: Place, now_ms: int) -> tuple[int, int]:
        """Nano-dollars and requests of the sixty seconds before a moment."""
        minute = self._minutes.get(place)
        if minute is None:
            return 0, 0
        minute.until(now_ms)
        return minute.total_nano, len(minute.costs)

    def forget(self, now_ms: int) -> None:
        """Drops windows that are over and minutes in which nothing happened."""
        self._counters = {k: c for k, c in self._counters.items() if c.ends_ms is None or c.ends_ms > now_ms - MINUTE_MS}
        for minute in self._minutes.values():
            minute.until(now_ms)
        self._minutes = {place: minute for place, minute in self._minutes.items() if minute.costs}

    def _counter(self, limit: Limit, at_ms: int) -> _Counter:
        place = place_of(limit)
        found = self._counters.get((place, limit.period))
        if found is None or (found.ends_ms is not None and found.ends_ms <= at_ms):
            known = self._history.used(place, limit.period, at_ms)
            known_ms = self._history.known_ms(place, limit.period)
            window = (period_start(limit.period, at_ms), period_end(limit.period, at_ms))
            found = _Counter(known.cost_nano, known.tokens, known_ms, *window)
            self._counters[place, limit.period] = found
        return found
