"""The rule of rate limits: a bucket that holds `burst`, fills with what is used and flows off at `limit` a period.

It is computed over fixed buckets of one second. What was used in a second is in the level at the end of it; of the second that is
running nothing has flowed off yet. So the level is never below the true one by what came within that second, and above it by one
second's flow at most. An event that is late for its second, but not later than the seconds that are kept, is counted there; one that
is later still counts in the oldest.

All times of this module are epoch milliseconds or epoch seconds, levels are in units (requests or tokens) x milliseconds of the
period: whole numbers, so that a fold over the same seconds is the same wherever it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from daytwo.records import RateLimit

PERIOD_MS: Final = {"minute": 60_000, "day": 86_400_000}
UNITS: Final = ("requests", "tokens")
KEPT_S: Final = 10
"""Seconds that are kept apart: how late an event may be and still count in its own second."""
ROOM_MS: Final = 500
"""A throttle lasts until there is room for what flows off in this time: shorter ones would be over before the gate knows them."""
MOST_DELAY_MS: Final = 2_000
"""A delay that is taken for the usual; after a standstill it is not."""
NEVER_MS: Final = 366 * 86_400_000


class Level(NamedTuple):
    """How full a bucket is at the beginning of a second."""

    level: int
    second: int


def burst(rate: RateLimit) -> int:
    """What may come at once after a rest; by default a whole period's."""
    return rate.burst or rate.limit


def flowed(base: Level, rate: RateLimit, used: Iterable[tuple[int, int]], until_s: int) -> Level:
    """The level at the beginning of second `until_s`, after what was `used` in (second, amount), in order, all before it."""
    level, second = base
    for at, amount in used:
        level = max(0, level - rate.limit * 1000 * max(0, at + 1 - second)) + amount * PERIOD_MS[rate.period]
        second = at + 1
    return Level(max(0, level - rate.limit * 1000 * max(0, until_s - second)), until_s)


def level_at(base: Level, rate: RateLimit, used: Mapping[int, int], now_ms: int) -> int:
    """The level now. What is ahead of the clock counts as used now."""
    this_s = max(now_ms // 1000, base.second)
    past = sorted((second, amount) for second, amount in used.items() if second < this_s)
    running = sum(amount for second, amount in used.items() if second >= this_s)
    level, _ = flowed(base, rate, past, this_s)
    since_ms = max(0, now_ms - this_s * 1000)
    return max(0, level - rate.limit * since_ms) + running * PERIOD_MS[rate.period]


def coming(rate: RateLimit, used: Mapping[int, int], now_ms: int, delay_ms: int) -> int:
    """What will pass before a throttle of now is obeyed, beyond what flows off meanwhile; a level.

    As much as in the last second, for twice the time that the last record took to get here: there and back.
    """
    this_s = now_ms // 1000
    a_second = max(used.get(this_s, 0), used.get(this_s - 1, 0)) * PERIOD_MS[rate.period]
    return max(0, a_second - rate.limit * 1000) * 2 * min(max(0, delay_ms), MOST_DELAY_MS) // 1000


def throttled_until(level: int, rate: RateLimit, now_ms: int) -> int | None:
    """When something may be admitted again, epoch milliseconds; None: now. Full is a bucket in which not one unit has room.

    Then one unit has room, and what flows off in half a second.
    """
    period_ms = PERIOD_MS[rate.period]
    if level <= (burst(rate) - 1) * period_ms:
        return None
    if rate.limit <= 0:
        return now_ms + NEVER_MS
    free = min(burst(rate) * period_ms, max(period_ms, rate.limit * ROOM_MS))
    return now_ms + min(NEVER_MS, -(-(level - burst(rate) * period_ms + free) // rate.limit))


def limits_of(rates: Sequence[RateLimit], scope: str, subject: str) -> list[RateLimit]:
    """Of each kind and period the limit that holds for a subject: that of the most specific pattern, of equal ones the lowest."""
    held: dict[tuple[str, str], RateLimit] = {}
    for rate in rates:
        if rate.scope != scope or rate.kind not in UNITS or rate.period not in PERIOD_MS or not _fits(rate.subject, subject):
            continue
        known = held.get((rate.kind, rate.period))
        if known is None or _precedence(rate) > _precedence(known):
            held[rate.kind, rate.period] = rate
    return list(held.values())


def _precedence(rate: RateLimit) -> tuple[bool, int, int]:
    return ("*" not in rate.subject, len(rate.subject.replace("*", "")), -rate.limit)


def _fits(pattern: str, subject: str) -> bool:
    return pattern in ("*", subject) or ("*" in pattern and _compiled(pattern).fullmatch(subject) is not None)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)
