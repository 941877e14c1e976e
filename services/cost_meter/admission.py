"""The worst case of a request, before any money is spent."""

from __future__ import annotations

from collections.abc import Callable

from daytwo.charging import bound_nano
from daytwo.records import Admission, Quote, RequestSubmitted, TenantConfigured
from services.cost_meter.bound import input_tokens_bound
from services.cost_meter.budget import LARGEST, dollars
from services.cost_meter.decisions import Refusal
from services.cost_meter.quoting import Offer


def propose(
    request: RequestSubmitted,
    offer: Offer,
    *,
    attempts_bound: int,
    at_ms: int,
    straight: bool = False,
    corrected: Callable[[Quote, int], int] = lambda _, nano: nano,
) -> Admission | Refusal:
    """What is to be reserved if the caps have room: every attempt that may be made, at the dearest route that may be taken.

    `offer`: what its model can be had for at that moment (epoch milliseconds). `straight`: as Admission has it.
    `corrected`: what a bound (nano-dollars) of a quote is raised to, as its provider has billed more than that before.
    """
    routes, quotes = offer
    if not routes:
        return Refusal(reason="unknown_model", detail=f"no active deployment serves {request.model}")
    if not quotes:
        models = ", ".join(sorted({f"{route.provider}/{route.model}" for route in routes}))
        return Refusal(reason="unpriced_model", detail=f"no price is known for {models}")
    input_tokens = input_tokens_bound(request)
    worst = attempts_bound * max(corrected(quote, bound_nano(quote, input_tokens, request.max_tokens)) for quote in quotes)
    if worst > LARGEST:
        return Refusal(reason="too_large", detail=f"worst case ${dollars(worst)}: the most that is reserved is ${dollars(LARGEST)}")
    return Admission(
        cache_only=False,
        reserved_nano=worst,
        reserved_tokens=attempts_bound * (input_tokens + request.max_tokens),
        input_tokens_bound=input_tokens,
        attempts_bound=attempts_bound,
        quotes=quotes,
        at_ms=at_ms,
        straight=straight,
    )


def standing(request: RequestSubmitted, tenant: TenantConfigured | None, wrong: str) -> Refusal | None:
    """Why the tenant may not ask this at all, if so. `wrong`: what is wrong with its caps."""
    if tenant is None:
        return Refusal(reason="unknown_tenant", detail=f"no tenant {request.tenant} is configured")
    if not tenant.active:
        return Refusal(reason="inactive_tenant", detail=f"tenant {request.tenant} is switched off")
    if wrong:
        return Refusal(reason="invalid_configuration", detail=wrong)
    if tenant.models and request.model not in tenant.models:
        return Refusal(reason="unknown_model", detail=f"tenant {request.tenant} may not use {request.model}")
    return None
