"""Names of the windows money is counted in, as the ledger calls them (UTC)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

HOUR_MS: Final = 3_600_000
PERIODS: Final = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "month": "%Y-%m", "total": "total"}


def window(period: str, at_ms: int) -> str:
    """Name of the window of `period` that contains a moment (epoch milliseconds): 2026-03-01T14, 2026-03-01, 2026-03 or total."""
    return _of_hour(period, at_ms // HOUR_MS)


@lru_cache(maxsize=4096)
def _of_hour(period: str, hour: int) -> str:
    return datetime.fromtimestamp(hour * 3600, UTC).strftime(PERIODS[period])
