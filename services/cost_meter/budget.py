"""Caps: which counters a request is booked in, what each may hold, and when it renews.

A counter belongs to a scope (the tenant, one user, workflow run, session or agent), the subject of that scope, and a period's
window in UTC; or it counts the requests of a subject that are open now. The tenant is counted in every period, capped or not, so
that a cap that comes later knows what was spent; others only where they have a cap. A request that names no user (workflow, ...)
is outside the caps of users (workflows, ...).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from daytwo.caps import most_specific
from daytwo.records import Cap, ConcurrencyCap, RequestFinished, RequestSubmitted, TenantConfigured, TokenCap

HOUR_MS: Final = 3_600_000
SCOPES: Final = ("tenant", "user", "workflow", "session", "agent")
PERIODS: Final = ("total", "month", "day", "hour")
"""The slowest to renew first: the first cap that is reached tells when the request could be admitted."""
OPEN: Final = "open"
"""Instead of a period: what counts requests that are open now."""
LARGEST: Final = 2**53 - 1
"""Nano-dollars, or tokens, the ledger compares exactly; about nine million dollars. No cap, reservation or cost is above it."""
AT_LIMIT: Final = ("cache_only", "wait", "cheaper_route", "refuse")

Subjects = Mapping[str, str]
"""By scope whose request it is; empty: nobody's."""
AnyCap = Cap | TokenCap | ConcurrencyCap
Limits = tuple[int | None, int | None, int | None]
"""Nano-dollars, tokens, open requests; None: no cap."""


class Window(NamedTuple):
    """One counter of the ledger, and the most it may hold; None: counted, not capped."""

    scope: str
    subject: str
    """The user, workflow, session or agent; empty for the tenant."""
    period: str
    """hour, day, month, total or open."""
    name: str
    """2026-03-01T14, 2026-03-01, 2026-03, total or now."""
    renews_at_ms: int | None
    """Epoch milliseconds; None: never."""
    limit_nano: int | None = None
    limit_tokens: int | None = None
    limit_requests: int | None = None
    """Of period open."""

    @property
    def path(self) -> str:
        """Names the counter within its tenant. Ids have no slash."""
        return f"{self.scope}/{self.subject}/{self.period}/{self.name}"


def subjects_of(request: RequestSubmitted | RequestFinished) -> Subjects:
    return {
        "tenant": "",
        "user": request.user,
        "workflow": request.workflow,
        "session": request.session,
        "agent": request.agent,
    }


class Caps:
    """The caps of a tenant, made ready to be asked once a request."""

    def __init__(self, tenant: TenantConfigured) -> None:
        self.wrong = check(tenant)
        """Why they cannot be applied, in words; empty: they can. Nothing may be admitted then."""
        self._by_scope: dict[str, dict[str, list[AnyCap]]] = {}
        for cap in all_caps(tenant):
            period = OPEN if isinstance(cap, ConcurrencyCap) else cap.period
            self._by_scope.setdefault(cap.scope, {}).setdefault(period, []).append(cap)
        self.scopes = tuple(scope for scope in SCOPES[1:] if scope in self._by_scope)
        """Beside the tenant itself: those of which subjects are capped."""
        self._alike: dict[tuple[str, str], Limits] = {}
        """By scope and period, where the caps are the same for every subject."""
        for scope, periods in self._by_scope.items():
            for period, caps in periods.items():
                if all(cap.subject == "*" for cap in caps):
                    self._alike[scope, period] = _limits(caps, "")
        self._hour = -1
        self._tenants: tuple[Window, ...] = ()

    def windows(self, subjects: Subjects, at_ms: int) -> tuple[Window, ...]:
        """Every counter a request of this moment (epoch milliseconds) is booked in, the slowest to renew first."""
        hour = at_ms // HOUR_MS
        if hour != self._hour:
            self._hour, self._tenants = hour, tuple(self._of("tenant", "", hour))
        others = [window for scope in self.scopes if subjects[scope] for window in self._of(scope, subjects[scope], hour)]
        return tuple(sorted((*self._tenants, *others), key=_slowest_first)) if others else self._tenants

    def limits(self, scope: str, subject: str, period: str) -> Limits:
        """The most a subject may spend (nano-dollars), use (tokens) and have open (requests) in a period."""
        alike = self._alike.get((scope, period))
        return alike if alike is not None else _limits(self._by_scope.get(scope, {}).get(period, ()), subject)

    def _of(self, scope: str, subject: str, hour: int) -> Iterator[Window]:
        capped = self._by_scope.get(scope, {})
        for period in PERIODS:
            nano, tokens, _ = self.limits(scope, subject, period) if period in capped else (None, None, None)
            if scope == "tenant" or nano is not None or tokens is not None:
                name, renews_at_ms = spans(hour)[period]
                yield Window(scope, subject, period, name, renews_at_ms, nano, tokens)
        if OPEN in capped and (requests := self.limits(scope, subject, OPEN)[2]) is not None:
            yield Window(scope, subject, OPEN, "now", None, limit_requests=requests)


def _limits(caps: Sequence[AnyCap], subject: str) -> Limits:
    return (
        most_specific([(cap.subject, cap.limit_nano) for cap in caps if isinstance(cap, Cap)], subject),
        most_specific([(cap.subject, cap.limit_tokens) for cap in caps if isinstance(cap, TokenCap)], subject),
        most_specific([(cap.subject, cap.limit_requests) for cap in caps if isinstance(cap, ConcurrencyCap)], subject),
    )


def all_caps(tenant: TenantConfigured) -> Sequence[AnyCap]:
    return [*tenant.caps, *tenant.token_caps, *tenant.concurrency_caps]


_ORDER: Final = {period: place for place, period in enumerate((*PERIODS, OPEN))}


def _slowest_first(window: Window) -> int:
    return _ORDER[window.period]


def check(tenant: TenantConfigured) -> str:
    """What is wrong with its caps and what is to be done at them; empty: nothing. A cap that cannot be applied must not be passed over."""
    for cap in all_caps(tenant):
        if wrong := _wrong(cap):
            return wrong
    unknown = [step for step in tenant.at_limit if step not in AT_LIMIT]
    return f"at_limit {unknown[0]!r}: known are {', '.join(AT_LIMIT)}" if unknown else ""


def _wrong(cap: AnyCap) -> str:
    period = cap.period if isinstance(cap, Cap | TokenCap) else "total"
    if cap.scope not in SCOPES or period not in PERIODS:
        return f"a cap of scope {cap.scope!r} and period {period!r}: known are {', '.join(SCOPES)} and {', '.join(PERIODS)}"
    amount, unit = limit_of(cap)
    if not 0 <= amount <= LARGEST:
        return f"a cap of {amount} {unit} ({cap.scope}, {period}): it must be 0 to {LARGEST}"
    return ""


def limit_of(cap: AnyCap) -> tuple[int, str]:
    """The number and its unit."""
    if isinstance(cap, Cap):
        return cap.limit_nano, "nano-dollars"
    return (cap.limit_tokens, "tokens") if isinstance(cap, TokenCap) else (cap.limit_requests, "open requests")


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
