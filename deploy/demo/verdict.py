"""Whether all went as it should, and what it came to. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from deploy.demo.row import Row
from deploy.demo.script import means_the_same


@dataclass(slots=True, kw_only=True)
class Evidence:
    """All that was seen; filled while the demo plays."""

    asked: int = 0
    rows: list[Row] = field(default_factory=list)
    documents: int = 0
    """Indexed."""
    documents_missing: list[str] = field(default_factory=list)
    """Each with its reason."""
    audit: Mapping[str, Any] | None = None
    """What `daytwo audit --json` says; None: it said nothing."""
    broken_off: str = ""
    """Why the demo did not come to its end, if so."""

    @property
    def ended(self) -> int:
        return sum(row.outcome != "lost" for row in self.rows)

    @property
    def lost(self) -> int:
        return self.asked - self.ended


def last_line(evidence: Evidence) -> str:
    return f"demo: {evidence.asked} requests, {evidence.ended} ended, {evidence.lost} lost"


def problems(evidence: Evidence) -> list[str]:
    """All that did not go as it should; none: the demo succeeded."""
    return [problem for judge in (_losses, _documents, _endings, _cache, _budget, _outage, _audit) for problem in judge(evidence)]


def _losses(evidence: Evidence) -> Iterator[str]:
    if evidence.broken_off:
        yield f"the demo broke off: {evidence.broken_off}"
    if evidence.lost:
        yield f"{evidence.lost} of {evidence.asked} requests have no result"


def _documents(evidence: Evidence) -> Iterator[str]:
    if not evidence.documents:
        yield "no document was indexed"
    for missing in evidence.documents_missing:
        yield f"document {missing} was not indexed"
    for row in evidence.rows:
        if row.is_grounded and row.is_answered and not row.citations:
            yield f"{row.text!r} was answered without a citation"


def _endings(evidence: Evidence) -> Iterator[str]:
    """Nobody but the tenant with the strict budget goes without an answer."""
    for row in evidence.rows:
        if row.outcome != "lost" and not row.is_answered and row.reason != "budget_exceeded":
            yield f"{row.tenant}: {row.text!r} was {row.outcome} ({row.reason}: {row.detail})"
        if row.reason == "budget_exceeded" and row.act != "budget":
            yield f"{row.tenant} ran out of budget"


def _cache(evidence: Evidence) -> Iterator[str]:
    for kind in ("exact", "semantic"):
        if not any(row.served == kind for row in evidence.rows):
            yield f"no answer was served from the cache by an {kind} match" if kind == "exact" else "no answer was served by meaning"
    for row in evidence.rows:
        if row.is_cached and not means_the_same(row.text, row.matched):
            yield f"{row.text!r} got the answer to {row.matched!r}"


def _budget(evidence: Evidence) -> Iterator[str]:
    rows = [row for row in evidence.rows if row.act == "budget"]
    refusals = [place for place, row in enumerate(rows) if row.reason == "budget_exceeded"]
    if not refusals:
        yield "no request was refused with budget_exceeded"
    elif not any(row.is_cached for row in rows[refusals[0] :]):
        yield "over its budget, the tenant got no cached answer"
    if any(rows[place].retry_after_ms is None for place in refusals):
        yield "a refusal does not say when the budget renews"


def _outage(evidence: Evidence) -> Iterator[str]:
    if not any(row.act == "outage" and row.served == "deployment" and row.deployment == "mock" for row in evidence.rows):
        yield "while the model was down, no request was answered by the fallback"
    if not any(row.act == "return" and row.served == "deployment" and row.deployment == "local" for row in evidence.rows):
        yield "after its return, the model answered no request"


def _audit(evidence: Evidence) -> Iterator[str]:
    audit = evidence.audit
    if audit is None:
        yield "there was no audit"
        return
    if not audit["clean"]:
        rules = sorted({violation["rule"] for violation in audit["violations"]})
        yield f"the audit found {len(audit['violations'])} violations: {', '.join(rules)}"
    accepted = audit["counts"]["accepted"]
    if accepted != evidence.asked:
        yield f"{evidence.asked} requests were asked, and the log has {accepted}"


def counts(rows: Sequence[Row]) -> dict[str, int]:
    """How requests ended, by name as the summary shows it; in the order of what is best to read."""
    kinds = Counter(_kind(row) for row in rows)
    order = ("answered by local", "answered by mock", "cache, word for word", "cache, by meaning", "cache, asked just now")
    return {name: kinds[name] for name in (*order, *sorted(kinds.keys() - set(order))) if kinds[name]}


def _kind(row: Row) -> str:
    if not row.is_answered:
        return row.outcome
    cached = {"exact": "cache, word for word", "semantic": "cache, by meaning", "coalesced": "cache, asked just now"}
    return cached.get(row.served) or f"answered by {row.deployment}"


def percentile(values: Sequence[float], share: float) -> float | None:
    """The nearest-rank percentile; None of nothing. `share` in (0, 1]."""
    return sorted(values)[ceil(share * len(values)) - 1] if values else None
