"""What is done with a request at a limit: the steps its tenant lets be tried, one after another. Pure."""

from __future__ import annotations

from typing import Final

from daytwo.records import Admission, LimitHit, RequestSubmitted, TenantConfigured
from services.cost_meter.bound import input_tokens_bound
from services.cost_meter.decisions import AtLimit

WORK_MS: Final = 1000
"""What must be left of the deadline when a wait is over, for it to be of any use."""
SOONEST_MS: Final = 500
LONGEST_MS: Final = 8_000
"""Between two looks for room that others may have left."""
ROUNDS: Final = 2
"""Questions to the ledger a round: the request itself, and its cheaper route."""


def policy(tenant: TenantConfigured) -> tuple[str, ...]:
    """The steps before the refusal."""
    if not tenant.at_limit:
        return ("cache_only",) if tenant.over_budget == "cache_only" else ()
    return tenant.at_limit[: tenant.at_limit.index("refuse")] if "refuse" in tenant.at_limit else tenant.at_limit


def may_be_cached(request: RequestSubmitted, tenant: TenantConfigured) -> bool:
    return tenant.cache.enabled and request.cache == "use"


def wait_until_ms(hit: LimitHit, *, round_: int, deadline_ms: int, now_ms: int) -> int | None:
    """When it is to be decided anew, epoch milliseconds; None: waiting helps nobody, or not before the deadline.

    There is room when the window renews, and may be before, as others end below their worst case. What has no moment to renew
    at (a total) is not waited for; open requests end at any time.
    """
    latest = deadline_ms - WORK_MS
    if hit.wanted > hit.limit:
        return None
    renews_at_ms = hit.retry_at_ms if hit.kind != "concurrency" else latest
    if renews_at_ms is None or renews_at_ms > latest or now_ms >= latest:
        return None
    if hit.kind in ("request_rate", "token_rate"):
        return renews_at_ms
    return min(renews_at_ms, now_ms + min(LONGEST_MS, SOONEST_MS << min(10, round_ // ROUNDS)))


def retry_after_ms(hit: LimitHit, now_ms: int) -> int | None:
    """What a client is told."""
    if hit.kind == "concurrency":
        return None if hit.wanted > hit.limit else SOONEST_MS
    return None if hit.retry_at_ms is None else max(0, hit.retry_at_ms - now_ms)


def cache_only(request: RequestSubmitted, at: AtLimit, *, rest: tuple[str, ...], round_: int) -> Admission:
    """`rest`: what is to be tried if the cache has no answer, in the next round."""
    return Admission(
        cache_only=True,
        reserved_nano=0,
        input_tokens_bound=input_tokens_bound(request),
        attempts_bound=0,
        reason=at.reason,
        retry_at_ms=at.hit.retry_at_ms,
        round=round_ + ROUNDS,
        then=rest,
        limit_hit=at.hit,
    )
