"""Buckets of time in UTC, as usage-windowed has them: hours, days, weeks from Monday. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
WEEK_MS: Final = 7 * DAY_MS
MONDAY_MS: Final = 4 * DAY_MS
"""The first Monday after the beginning of 1970, which was a Thursday."""

WIDTHS: Final[Mapping[str, int]] = {"hour": HOUR_MS, "day": DAY_MS, "week": WEEK_MS}


def start_of(width: str, at_ms: int) -> int:
    """Beginning of the bucket that contains a moment, both epoch milliseconds."""
    length = WIDTHS[width]
    offset = MONDAY_MS if width == "week" else 0
    return (at_ms - offset) // length * length + offset
