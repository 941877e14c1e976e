"""The caps of a tenant, as the audit understands them. It shares no code with cost-meter, so that one checks the other. Pure."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from daytwo.audit.windows import PERIODS
from daytwo.records import TenantConfigured

OPEN = "open"


class Rule(NamedTuple):
    """One cap. `unit` is money, tokens or open; `period` one of PERIODS, or open."""

    unit: str
    scope: str
    pattern: str
    period: str
    limit: int


def rules(tenant: TenantConfigured) -> list[Rule]:
    found = [Rule("money", cap.scope, cap.subject, cap.period, cap.limit_nano) for cap in tenant.caps]
    found += [Rule("tokens", cap.scope, cap.subject, cap.period, cap.limit_tokens) for cap in tenant.token_caps]
    found += [Rule(OPEN, cap.scope, cap.subject, OPEN, cap.limit_requests) for cap in tenant.concurrency_caps]
    return [rule for rule in found if rule.period in PERIODS or rule.period == OPEN]


def holding(all_rules: Sequence[Rule], scope: str, subject: str) -> Iterator[Rule]:
    """Of each unit and period the rule that holds for a subject: the most specific, of equally specific ones the lowest."""
    fitting = [rule for rule in all_rules if rule.scope == scope and fnmatch.fnmatchcase(subject, rule.pattern)]
    for place in {(rule.unit, rule.period) for rule in fitting}:
        yield max((rule for rule in fitting if (rule.unit, rule.period) == place), key=_rank)


def _rank(rule: Rule) -> tuple[bool, int, int]:
    return ("*" not in rule.pattern, len(rule.pattern) - rule.pattern.count("*"), -rule.limit)
