"""Which requests need a vector: those that are grounded, and those the cache may match by meaning."""

from __future__ import annotations

from daytwo.question import is_single_turn
from daytwo.records import Admission, CachePolicy, RequestSubmitted


def needs_vector(request: RequestSubmitted, admission: Admission, policy: CachePolicy) -> bool:
    return grounded(request, admission) or matched_by_meaning(request, policy)


def grounded(request: RequestSubmitted, admission: Admission) -> bool:
    """Whether passages will be looked for. What may be answered from the cache only never comes that far."""
    return request.grounding is not None and not admission.cache_only


def matched_by_meaning(request: RequestSubmitted, policy: CachePolicy) -> bool:
    """Whether the cache may look for, or learn, an answer by meaning. A threshold above 1 allows exact hits only."""
    return request.cache != "off" and policy.enabled and policy.threshold <= 1 and is_single_turn(request)
