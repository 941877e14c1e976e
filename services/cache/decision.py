"""What the cache may do for a request, which answer is near enough, and what comes out. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from daytwo.records import (
    AnswerLearned,
    CacheMatch,
    LimitHit,
    RequestEmbedded,
    RequestFinished,
    RequestGrounded,
    RequestMissed,
    RequestWaiting,
    StepTime,
)
from daytwo.results import finished
from services.cache.index import Neighbour

ROUNDING: Final = 1e-6
"""Half-precision cosines of equal vectors miss 1 by less than this."""


def nearest(neighbours: Sequence[Neighbour], *, threshold: float, now_ms: int) -> Neighbour | None:
    """The nearest that is near enough and has not expired; of equally near ones the newest."""
    enough = [n for n in neighbours if n.similarity + ROUNDING >= threshold and n.entry.expires_at_ms > now_ms]
    return max(enough, key=lambda n: (round(n.similarity, 6), n.entry.learned_at_ms), default=None)


def match_of(answer: AnswerLearned, question: str, similarity: float, *, arrived_ms: int, now_ms: int) -> CacheMatch:
    """How `answer` fits `question`. An equal one answered after this one arrived (epoch milliseconds) was in flight with it."""
    exact = answer.question == question
    coalesced = exact and answer.learned_at_ms >= arrived_ms
    return CacheMatch(
        kind="coalesced" if coalesced else "exact" if exact else "semantic",
        answer_id=answer.request_id if coalesced else answer.answer_id,
        question=answer.question_text,
        similarity=1.0 if exact else similarity,
        age_ms=max(0, now_ms - answer.learned_at_ms),
    )


def servable(answer: AnswerLearned, tenant: str, now_ms: int) -> bool:
    """The last look before an answer leaves: whose it is, and whether it has expired."""
    return answer.tenant == tenant and answer.expires_at_ms > now_ms


def answered(record: RequestEmbedded, answer: AnswerLearned, match: CacheMatch, *, now_ms: int, step: StepTime) -> RequestFinished:
    return finished(
        record.request,
        now_ms=now_ms,
        outcome="answered",
        reason="ok",
        fingerprint=record.fingerprint,
        message=answer.message,
        finish_reason=answer.finish_reason,
        citations=answer.citations,
        saved_nano=answer.cost_nano,
        served_by="cache",
        deployment=answer.deployment,
        model=answer.model,
        cache_match=match,
        question=record.question,
        steps=(*record.steps, step),
    )


def refused(record: RequestEmbedded, *, now_ms: int, step: StepTime) -> RequestFinished:
    """The end of a request that may only be answered from the cache, and cannot be."""
    retry_at_ms = record.admission.retry_at_ms
    return finished(
        record.request,
        now_ms=now_ms,
        outcome="refused",
        reason=record.admission.reason or "budget_exceeded",
        detail="a limit is reached and no cached answer was near enough",
        limit_hit=record.admission.limit_hit,
        retry_after_ms=None if retry_at_ms is None else max(0, retry_at_ms - now_ms),
        fingerprint=record.fingerprint,
        question=record.question,
        steps=(*record.steps, step),
    )


def waiting(record: RequestEmbedded, hit: LimitHit, *, step: StepTime) -> RequestWaiting:
    """Back to cost-meter: the cache has no answer, and the tenant lets something else be tried at the limit."""
    return RequestWaiting(
        request=record.request,
        fingerprint=record.fingerprint,
        round=record.admission.round,
        until_ms=0,
        then=record.admission.then,
        limit_hit=hit,
        steps=(*record.steps, step),
    )


def missed(record: RequestEmbedded, *, step: StepTime) -> RequestMissed | RequestGrounded:
    """To the retriever where passages are asked for, else straight on (docs/adr/0009-straight-to-the-router.md)."""
    rest: dict[str, Any] = {
        "request": record.request,
        "fingerprint": record.fingerprint,
        "admission": record.admission,
        "question": record.question,
        "steps": (*record.steps, step),
    }
    return RequestGrounded(**rest) if record.request.grounding is None else RequestMissed(**rest, vector=record.vector)
