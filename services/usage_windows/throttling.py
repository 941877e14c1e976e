"""Whom to throttle: publishes each limit that is reached, and deletes what is over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final

from daytwo.flow import Change, Output, Table, Tombstone
from daytwo.records import RateLimit, ThrottlePublished
from daytwo.topics import THROTTLE_PUBLISHED
from services.usage_windows.rates import PERIOD_MS, UNITS
from services.usage_windows.windows import Windows

OVER_MS: Final = 5_000
"""After its end a throttle is deleted: every gate has passed over it by then, whatever its clock says."""


class Throttling(Table[ThrottlePublished]):
    """Follows what was published before, and knows at once what is published now."""

    def __init__(self, publish: Callable[[Output], None]) -> None:
        super().__init__(THROTTLE_PUBLISHED)
        self._publish = publish
        self.published = 0

    async def apply(self, changes: Sequence[Change[ThrottlePublished]]) -> None:
        """What comes back of our own is older than what we know; of others we know nothing."""
        await super().apply([change for change in changes if self._is_news(change)])

    def judge(self, windows: Windows, rates: Sequence[RateLimit], now_ms: int) -> None:
        """Publishes the limits a subject has reached, where that is not known yet."""
        for rate, used, until_ms in windows.throttles(rates, now_ms):
            row = ThrottlePublished(
                tenant=windows.tenant,
                scope=windows.scope,
                subject=windows.subject,
                kind=rate.kind,
                period=rate.period,
                limit=rate.limit,
                used=used,
                until_ms=until_ms,
                published_at_ms=now_ms,
            )
            key = THROTTLE_PUBLISHED.key(row)
            known = self.rows.get(key)
            if known is None or known.until_ms < until_ms or known.limit != rate.limit:
                self.rows[key] = row
                self.published += 1
                self._publish(row)

    def judge_anew(self, subjects: Iterable[tuple[Windows, Sequence[RateLimit]]], now_ms: int) -> None:
        """After the limits of these subjects have changed: what held by the limits before is void."""
        for windows, rates in subjects:
            named = (f"{windows.key}/{kind}/{period}" for kind in UNITS for period in PERIOD_MS)
            self._delete([key for key in named if key in self.rows])
            self.judge(windows, rates, now_ms)

    def sweep(
        self, rates_of: Callable[[ThrottlePublished], Sequence[RateLimit] | None], now_ms: int, owns: Callable[[str], bool] = lambda _: True
    ) -> None:
        """Deletes what is over, and what is by a limit that is no more. `rates_of`: the limits of a row's subject; None: not known.
        `owns`: whether a tenant is counted here; others may have made a throttle longer that is over by what is known here.
        """
        ours = {key: row for key, row in self.rows.items() if owns(row.tenant)}
        self._delete([key for key, row in ours.items() if row.until_ms + OVER_MS < now_ms or _is_void(row, rates_of(row))])

    def _is_news(self, change: Change[ThrottlePublished]) -> bool:
        known = self.rows.get(change.key)
        if change.record is None:
            return False
        return known is None or known.published_at_ms < change.record.published_at_ms

    def _delete(self, keys: Sequence[str]) -> None:
        for key in keys:
            del self.rows[key]
            self._publish(Tombstone(topic=THROTTLE_PUBLISHED, key=key))


def _is_void(row: ThrottlePublished, rates: Sequence[RateLimit] | None) -> bool:
    if rates is None:
        return False
    return not any((rate.kind, rate.period, rate.limit) == (row.kind, row.period, row.limit) for rate in rates)
