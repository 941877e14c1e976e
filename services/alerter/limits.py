"""The caps of a request's subjects, and the moments their windows end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from daytwo.caps import most_specific
from daytwo.records import Cap, TenantConfigured, TokenCap

Unit = Literal["nano_dollars", "tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One cap of one subject; `subject` is empty for the tenant."""

    tenant: str
    scope: str
    subject: str
    period: str
    unit: Unit
    limit: int


def limits_of(tenant: TenantConfigured, subjects: Mapping[str, str]) -> Iterator[Limit]:
    """Every cap of money and of tokens that holds for one of the subjects (by scope; empty: nobody's)."""
    for scope, subject in subjects.items():
        if scope != "tenant" and not subject:
            continue
        for unit, caps in (("nano_dollars", tenant.caps), ("tokens", tenant.token_caps)):
            for period in dict.fromkeys(cap.period for cap in caps if cap.scope == scope):
                fitting = [(cap.subject, _amount(cap)) for cap in caps if (cap.scope, cap.period) == (scope, period)]
                limit = most_specific(fitting, subject)
                if limit is not None and limit > 0:
                    yield Limit(tenant=tenant.tenant, scope=scope, subject=subject, period=period, unit=unit, limit=limit)  # type: ignore[arg-type]


def _amount(cap: Cap | TokenCap) -> int:
    return cap.limit_nano if isinstance(cap, Cap) else cap.limit_tokens
