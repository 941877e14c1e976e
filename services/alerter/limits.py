"""The caps of a request's subjects, and the moments their windows end. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from daytwo.caps import most_specific
from daytwo.records import Cap, TenantConfigured, TokenCap

MOST_KNOWN: Final = 100_000
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


class Limits:
    """`limits_of`, looked up once for each tenant's configuration and subjects."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], tuple[TenantConfigured, list[Limit]]] = {}

    def of(self, tenant: TenantConfigured, subjects: Mapping[str, str]) -> list[Limit]:
        # Subjects that no cap names come by the thousand.
        scopes = {cap.scope for cap in tenant.caps} | {cap.scope for cap in tenant.token_caps}
        asked = (tenant.tenant, *(subject if scope in scopes else "" for scope, subject in subjects.items()))
        known = self._known.get(asked)
        if known is None or known[0] is not tenant:
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            known = self._known[asked] = (tenant, list(limits_of(tenant, subjects)))
        return known[1]


def _amount(cap: Cap | TokenCap) -> int:
    return cap.limit_nano if isinstance(cap, Cap) else cap.limit_tokens
