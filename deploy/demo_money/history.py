"""Nine weeks of a tenant that never was, as usage-windows would have published them: a demo has no nine weeks."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from daytwo.money.weeks import DAY_MS, start_of
from daytwo.records import Usage, UsageWindowed

TENANT = "history"
REQUESTS = 4_000
TOKENS = 1_200
NANO_PER_TOKEN = 2_000
TIMES = 3
"""So many times as many requests as usual are in the week that is judged."""


def nine_weeks(now_ms: int, rng: Random) -> Iterator[UsageWindowed]:
    """Closed days: weekends a third, each day a little different, and the week that `daytwo trends` judges three times as busy."""
    today = start_of("day", now_ms)
    monday = start_of("week", today - DAY_MS)
    for at in range(monday - 8 * 7 * DAY_MS, today, DAY_MS):
        share = (0.33 if (at - monday) // DAY_MS % 7 >= 5 else 1.0) * (TIMES if at >= monday else 1)
        yield from _day(at, round(REQUESTS * share * rng.uniform(0.9, 1.1)))


def _day(start_ms: int, requests: int) -> Iterator[UsageWindowed]:
    tokens = requests * TOKENS
    for model in ("", "mock"):
        yield UsageWindowed(
            tenant=TENANT,
            scope="tenant",
            subject="",
            model=model,
            width="day",
            start_ms=start_ms,
            requests=requests,
            usage=Usage(input_tokens=tokens * 3 // 4, output_tokens=tokens // 4),
            cost_nano=tokens * NANO_PER_TOKEN,
            published_at_ms=start_ms + DAY_MS,
        )
