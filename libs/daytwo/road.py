"""Which services a request needs on its way to a model. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from daytwo.records import CachePolicy, RequestSubmitted


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What a request may do with the cache."""

    read: bool
    """Be answered from it, or by an equal request in flight."""
    learn: bool
    """Go on and leave its answer."""


def cache_use(request: RequestSubmitted, policy: CachePolicy | None, *, cache_only: bool) -> CacheUse:
    """`policy` is None for a tenant that is not configured: nothing is read or learned."""
    enabled = policy is not None and policy.enabled and policy.ttl_s > 0
    return CacheUse(read=enabled and request.cache == "use", learn=enabled and request.cache != "off" and not cache_only)


def goes_straight(request: RequestSubmitted, policy: CachePolicy | None) -> bool:
    """Whether the router has all it needs once the request is admitted (docs/adr/0009-straight-to-the-router.md)."""
    use = cache_use(request, policy, cache_only=False)
    return request.grounding is None and not use.read and not use.learn
