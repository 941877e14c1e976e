"""Rows and evidence of a demo in which all went as it should."""

from __future__ import annotations

from typing import Any

from deploy.demo.row import Row
from deploy.demo.script import HELPDESK
from deploy.demo.verdict import Evidence

PASSWORD = HELPDESK[0]


def row(**given: Any) -> Row:
    defaults: dict[str, Any] = {
        "act": "questions",
        "tenant": "helpdesk",
        "text": PASSWORD.question,
        "outcome": "answered",
        "reason": "ok",
        "served": "deployment",
        "deployment": "local",
        "latency_ms": 100.0,
    }
    return Row(**{**defaults, **given})


def cached(kind: str, **given: Any) -> Row:
    return row(**{"served": kind, "matched": PASSWORD.question, "similarity": 0.97, **given})


def refused(**given: Any) -> Row:
    budget = {"act": "budget", "tenant": "strict", "outcome": "refused", "reason": "budget_exceeded", "served": "", "deployment": ""}
    return row(**{**budget, "retry_after_ms": 60_000, **given})


def good_rows() -> list[Row]:
    return [
        row(),
        cached("exact"),
        cached("semantic", text=PASSWORD.paraphrases[0]),
        row(tenant="manual", citations=2),
        row(act="budget", tenant="strict"),
        refused(),
        cached("exact", act="budget", tenant="strict"),
        refused(),
        row(act="outage", deployment="mock"),
        row(act="return"),
    ]


def evidence(rows: list[Row] | None = None, **given: Any) -> Evidence:
    rows = good_rows() if rows is None else rows
    audit = {"clean": True, "violations": [], "counts": {"accepted": len(rows)}}
    return Evidence(**{"asked": len(rows), "rows": rows, "documents": 3, "audit": audit, **given})
