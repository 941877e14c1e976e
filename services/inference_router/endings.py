"""The results the router gives, each with the attempts it made and what they cost. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from daytwo.errors import DaytwoError
from daytwo.flow import Context
from daytwo.records import AttemptFinished, AttemptSummary, LimitHit, RequestFinished, RequestGrounded, RequestWaiting, Usage
from daytwo.results import ended_by, outcome_of
from daytwo.results import finished as request_finished
from services.inference_router import booking
from services.inference_router.journal import Attempts
from services.inference_router.prompt import citations


def answered(grounded: RequestGrounded, attempts: Attempts, answer: AttemptFinished, context: Context) -> RequestFinished:
    """The answer that `answer` holds; the same result whether it was bought just now or is read from the journal."""
    return request_finished(
        grounded.request,
        now_ms=context.clock.now_ms(),
        outcome="answered",
        reason="ok",
        message=answer.message,
        finish_reason=answer.finish_reason,
        citations=citations(grounded),
        served_by="deployment",
        deployment=answer.deployment,
        model=answer.model,
        **_shared(grounded, attempts.ended(), context),
    )


def unanswered(
    grounded: RequestGrounded, attempts: Attempts, context: Context, reason: str, *, detail: str = "", retry_after_ms: int | None = None
) -> RequestFinished:
    return request_finished(
        grounded.request,
        now_ms=context.clock.now_ms(),
        outcome=outcome_of(reason),
        reason=reason,
        detail=detail,
        retry_after_ms=retry_after_ms,
        **_shared(grounded, attempts.ended(), context),
    )


def stopped(grounded: RequestGrounded, attempts: Attempts, context: Context, error: DaytwoError) -> RequestFinished:
    """The end that an error brought about. An attempt under way then has no end and counts in full."""
    now_ms = context.clock.now_ms()
    lost = [booking.lost(grounded, started, now_ms) for started in attempts.lost()]
    return ended_by(grounded.request, error, now_ms=now_ms, **_shared(grounded, [*attempts.ended(), *lost], context))


def asked_again(grounded: RequestGrounded, context: Context) -> RequestWaiting:
    """For cost-meter: the request once more, as the ledger was opened anew since it granted it, and nothing was bought yet."""
    ledger = LimitHit(scope="tenant", subject="", kind="ledger", period="", limit=0, used=0, wanted=0, retry_at_ms=None)
    return RequestWaiting(
        request=grounded.request,
        fingerprint=grounded.fingerprint,
        round=grounded.admission.round,
        until_ms=0,
        then=(),
        limit_hit=ledger,
        steps=(*grounded.steps, context.step()),
    )


def _shared(grounded: RequestGrounded, attempts: Sequence[AttemptFinished], context: Context) -> dict[str, Any]:
    return {
        "fingerprint": grounded.fingerprint,
        "question": grounded.question,
        "usage": _sum(attempts),
        "cost_nano": sum(attempt.cost_nano for attempt in attempts),
        "attempts": tuple([_summary(grounded, attempt) for attempt in attempts]),
        "steps": (*grounded.steps, context.step()),
    }


def _sum(attempts: Sequence[AttemptFinished]) -> Usage:
    return Usage(
        input_tokens=sum(attempt.usage.input_tokens for attempt in attempts),
        cached_input_tokens=sum(attempt.usage.cached_input_tokens for attempt in attempts),
        output_tokens=sum(attempt.usage.output_tokens for attempt in attempts),
    )


def _summary(grounded: RequestGrounded, attempt: AttemptFinished) -> AttemptSummary:
    quote = next((quote for quote in grounded.admission.quotes if quote.deployment == attempt.deployment), None)
    return AttemptSummary(
        attempt_id=attempt.attempt_id,
        deployment=attempt.deployment,
        outcome=attempt.outcome,
        reason=attempt.reason,
        latency_ms=attempt.latency_ms,
        cost_nano=attempt.cost_nano,
        bound_nano=0 if quote is None else booking.most_nano(grounded, quote),
        tokens=attempt.usage.input_tokens + attempt.usage.output_tokens,
    )
