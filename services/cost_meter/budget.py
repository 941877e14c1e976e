"""Caps: which counters a request is booked in, and when each renews.

A counter belongs to a scope (the tenant, one user, one workflow run), the subject of that scope, and a period's window
in UTC. The tenant is counted in every period, capped or not, so that a cap that comes later knows what was spent; a user or
a workflow only where it has a cap. A request that names no user (workflow) is outside the caps of users (workflows).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final

from daytwo.records import Cap

HOUR_MS: Final = 3_600_000
SCOPES: Final = ("tenant", "user", "workflow")
PERIODS: Final = ("total", "month", "day", "hour")
"""The slowest to renew first: the first cap that is reached tells when the request could be admitted."""
LARGEST_NANO: Final = 2**53 - 1
"""Nano-dollars the ledger compares exactly, about nine million dollars. No cap, reservation or cost is above it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """One counter of the ledger."""

    scope: str
    subject: str
    """The user or workflow; empty for the tenant."""
    period: str
    name: str
    """2026-03-01T14, 2026-03-01, 2026-03 or total."""
    renews_at_ms: int | None
    """Epoch milliseconds; None: never."""
    limit_nano: int | None
    """None: counted, not capped."""

    @property
    def path(self) -> str:
        """Names the counter within its tenant. Ids have no slash."""
        return f"{self.scope}/{self.subject}/{self.period}/{self.name}"


def check_caps(caps: Sequence[Cap]) -> str:
    """What is wrong with them, in words; empty: nothing. A cap that cannot be applied must not be passed over."""
    for cap in caps:
        if cap.scope not in SCOPES or cap.period not in PERIODS:
            return f"a cap of scope {cap.scope!r} and period {cap.period!r}: known are {', '.join(SCOPES)} and {', '.join(PERIODS)}"
        if not 0 <= cap.limit_nano <= LARGEST_NANO:
            return f"a cap of {cap.limit_nano} nano-dollars ({cap.scope}, {cap.period}): it must be 0 to {LARGEST_NANO}"
    return ""


def limits(caps: Sequence[Cap]) -> dict[tuple[str, str], int]:
    """The cap of each scope and period in nano-dollars; of several the lowest."""
    lowest: dict[tuple[str, str], int] = {}
    for cap in caps:
        place = (cap.scope, cap.period)
        lowest[place] = min(cap.limit_nano, lowest.get(place, cap.limit_nano))
    return lowest


def windows(caps: Sequence[Cap], *, user: str, workflow: str, at_ms: int) -> tuple[Window, ...]:
    """Every counter a request of this moment (epoch milliseconds) is booked in, the slowest to renew first."""
    capped = limits(caps)
    subjects = {"tenant": "", "user": user, "workflow": workflow}
    found = []
    for period, (name, renews_at_ms) in spans(at_ms // HOUR_MS).items():
        for scope, subject in subjects.items():
            limit = capped.get((scope, period))
            if scope == "tenant" or (subject and limit is not None):
                found.append(
                    Window(
                        scope=scope,
                        subject=subject,
                        period=period,
                        name=name,
                        renews_at_ms=renews_at_ms,
                        limit_nano=limit,
                    )
                )
    return tuple(found)


@lru_cache(maxsize=256)
def spans(hour: int) -> Mapping[str, tuple[str, int | None]]:
    """Of each period the window that contains an hour (since 1970): its name, and when the next one begins."""
    start = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=hour)
    midnight = start.replace(hour=0)
    # The 28th and four days are always in the next month.
    next_month = (start.replace(day=28, hour=0) + timedelta(days=4)).replace(day=1)
    return {
        "total": ("total", None),
        "month": (f"{start:%Y-%m}", _ms(next_month)),
        "day": (f"{start:%Y-%m-%d}", _ms(midnight + timedelta(days=1))),
        "hour": (f"{start:%Y-%m-%dT%H}", (hour + 1) * HOUR_MS),
    }


def _ms(moment: datetime) -> int:
    return int(moment.timestamp()) * 1000


def dollars(nano: int) -> str:
    """Exactly, with nine decimals."""
    return f"{'-' if nano < 0 else ''}{abs(nano) // 10**9}.{abs(nano) % 10**9:09d}"
