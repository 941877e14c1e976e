"""This week against the last eight, and the day a budget runs out. Robust, so that one odd week neither alarms for ever nor hides
the next. Pure.

A week is unusual if its cost is farther from the median of the weeks before than FAR times their spread, on a scale of ratios
(twice as much is as far as half as much), or ABOVE_ALL times as high as the dearest of them. The spread is the median absolute
deviation, scaled to a standard deviation and corrected for few weeks (Croux and Rousseeuw 1992), and never below LEAST_SPREAD:
weeks that were equal by chance must not make the next one an alarm. docs/money.md says how often it alarms where nothing has changed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles
from typing import Final, Literal

from daytwo.config_file.units import NANO, money_text
from daytwo.money.weeks import DAY_MS, WEEK_MS, start_of

WEEKS: Final = 8
LEAST_WEEKS: Final = 4
FAR: Final = 5.0
ABOVE_ALL: Final = 3
LEAST_SPREAD: Final = math.log(1.1)
LEAST_NANO: Final = 100_000_000
"""Ten cents: what is less away from the usual is no news."""
CENT_NANO: Final = 10_000_000
"""Added to both sides of a ratio: a week of nothing is an amount like any other."""
_TO_SIGMA: Final = 1.4826
_FEW: Final = {4: 1.363, 5: 1.206, 6: 1.200, 7: 1.140, 8: 1.129}
FORECAST_DAYS: Final = 28
LEAST_DAYS: Final = 3

Judgement = Literal["usual", "high", "low", "too_short"]


@dataclass(frozen=True, slots=True)
class Totals:
    """What was used in a time. Cost in nano-dollars."""

    requests: int = 0
    tokens: int = 0
    cost_nano: int = 0

    def __add__(self, other: Totals) -> Totals:
        return Totals(self.requests + other.requests, self.tokens + other.tokens, self.cost_nano + other.cost_nano)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """This week so far, and the same days of the weeks before (oldest first). `low_nano` to `high_nano` would have been usual."""

    judgement: Judgement
    this: Totals
    before: tuple[Totals, ...]
    usual_nano: int = 0
    low_nano: int = 0
    high_nano: int = 0
    reason: str = ""

    @property
    def anomaly(self) -> bool:
        return self.judgement in ("high", "low")


def judge(this: Totals, before: Sequence[Totals]) -> Trend:
    """One week against those before, of which the last eight count; fewer than four are too few to say anything."""
    weeks = tuple(before[-WEEKS:])
    if len(weeks) < LEAST_WEEKS:
        return Trend(judgement="too_short", this=this, before=weeks)
    logs = [_log(week.cost_nano) for week in weeks]
    middle = median(logs)
    spread = max(LEAST_SPREAD, _TO_SIGMA * _FEW[len(logs)] * median(abs(value - middle) for value in logs))
    usual_nano = round(median(week.cost_nano for week in weeks))
    low_nano = _unlog(middle - FAR * spread)
    high_nano = min(_unlog(middle + FAR * spread), ABOVE_ALL * max(week.cost_nano for week in weeks) + CENT_NANO)
    far = not low_nano <= this.cost_nano <= high_nano and abs(this.cost_nano - usual_nano) >= LEAST_NANO
    judgement: Judgement = "usual" if not far else "high" if this.cost_nano > usual_nano else "low"
    return Trend(
        judgement=judgement,
        this=this,
        before=weeks,
        usual_nano=usual_nano,
        low_nano=low_nano,
        high_nano=high_nano,
        reason=_reason(this, weeks, usual_nano) if far else "",
    )


def _log(nano: int) -> float:
    return math.log(nano + CENT_NANO)


def _unlog(value: float) -> int:
    return max(0, round(math.exp(value)) - CENT_NANO)


def _reason(this: Totals, before: Sequence[Totals], usual_nano: int) -> str:
    """What made it: more requests, longer ones, or dearer tokens. The largest first."""
    factors = {
        "requests": (this.requests, median(week.requests for week in before)),
        "tokens a request": (_ratio(this.tokens, this.requests), _usual_ratio((w.tokens, w.requests) for w in before)),
        "price of a token": (_ratio(this.cost_nano, this.tokens), _usual_ratio((w.cost_nano, w.tokens) for w in before)),
    }
    times = {name: now / usual if now and usual else None for name, (now, usual) in factors.items()}
    moved = [(name, value) for name, value in times.items() if value and abs(math.log(value)) >= LEAST_SPREAD]
    said = ", ".join(f"{name} {value:.2g} times the usual" for name, value in sorted(moved, key=lambda item: -abs(math.log(item[1]))))
    return f"{about(this.cost_nano)} against {about(usual_nano)}" + (f": {said}" if said else "")


def about(nano: int) -> str:
    """Money for people who look at weeks: to the cent from a dollar on."""
    return f"${nano / NANO:,.2f}" if nano >= NANO else money_text(nano)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def _usual_ratio(pairs: Iterable[tuple[int, int]]) -> float:
    known = [part / whole for part, whole in pairs if whole]
    return median(known) if known else 0.0


def week_so_far(days: Mapping[int, Totals], now_ms: int) -> Trend:
    """Judges the closed days of this week against the same days of the weeks before; on a Monday all of last week.

    `days`: by the beginning of the day, UTC. Weeks before the first known day do not count; days without an entry are nothing.
    """
    today = start_of("day", now_ms)
    monday = start_of("week", today - DAY_MS)
    length = today - monday
    if not days:
        return judge(Totals(), ())
    first = start_of("week", min(days))
    starts = [monday - n * WEEK_MS for n in range(WEEKS, 0, -1) if monday - n * WEEK_MS >= first]
    # The first week is not whole where the days begin in its middle.
    if starts and starts[0] == first and min(days) > first:
        starts = starts[1:]
    return judge(_between(days, monday, length), [_between(days, start, length) for start in starts])


def _between(days: Mapping[int, Totals], start_ms: int, length_ms: int) -> Totals:
    found = (days.get(at, Totals()) for at in range(start_ms, start_ms + length_ms, DAY_MS))
    return sum(found, Totals())


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """When a cap is used up, epoch milliseconds: at the usual speed, at the fastest of ten, and at the slowest of ten.

    None: not before the period is over. A range, not a promise: the next weeks need not be like the last four.
    """

    at_ms: int | None
    earliest_ms: int | None
    latest_ms: int | None


def forecast(days: Mapping[int, Totals], *, used_nano: int, limit_nano: int, now_ms: int, ends_ms: int | None) -> Forecast | None:
    """When `used_nano` reaches the limit if the last four weeks go on; None: less than three days are known, or it is reached.

    Weekly means where there are two weeks or more, for weekends are no news; else the days as they are. `ends_ms`: end of the
    period, when it begins anew; None: never.
    """
    today = start_of("day", now_ms)
    costs = [days.get(at, Totals()).cost_nano for at in range(max(min(days, default=today), today - FORECAST_DAYS * DAY_MS), today, DAY_MS)]
    if len(costs) < LEAST_DAYS or used_nano >= limit_nano:
        return None
    speeds = [sum(costs[n : n + 7]) / 7 for n in range(len(costs) - 6)] if len(costs) >= 14 else [float(cost) for cost in costs]
    tenths = quantiles(speeds, n=10, method="inclusive")
    slow, usual, fast = tenths[0], median(speeds), tenths[-1]

    def reached(per_day: float) -> int | None:
        if per_day <= 0:
            return None
        at_ms = now_ms + math.ceil((limit_nano - used_nano) / per_day * DAY_MS)
        return at_ms if ends_ms is None or at_ms < ends_ms else None

    return Forecast(at_ms=reached(usual), earliest_ms=reached(fast), latest_ms=reached(slow))
