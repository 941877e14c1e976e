"""What may be learned, and how an answer becomes what is learned. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID, uuid5

from daytwo.question import is_single_turn, question_text, scope_key
from daytwo.records import AnswerLearned, CachePolicy, Message, RequestEmbedded, RequestFinished, Usage

_ANSWERS: Final = UUID("5f1f3a52-3c0e-5d0b-9a51-6d2a7f0c9b11")
_ANOTHER_MAY_SUCCEED: Final = frozenset({"failed", "expired"})


def answer_id(tenant: str, question: str, request_id: str) -> str:
    """Id of the answer that a request was given: the same on every replica and every repeat."""
    return str(uuid5(_ANSWERS, f"{tenant}/{question}/{request_id}"))


def draft_of(record: RequestEmbedded, policy: CachePolicy) -> AnswerLearned:
    """What will be learned, but for the answer: as if learned at moment 0, so that it expires at its time to live."""
    request = record.request
    single_turn = is_single_turn(request)
    return AnswerLearned(
        answer_id=answer_id(request.tenant, record.question, request.request_id),
        tenant=request.tenant,
        question=record.question,
        scope=scope_key(request),
        question_text=question_text(request),
        single_turn=single_turn,
        vector=record.vector if single_turn else None,
        message=Message(role="assistant"),
        finish_reason="",
        usage=Usage(),
        cost_nano=0,
        deployment="",
        model="",
        request_id=request.request_id,
        learned_at_ms=0,
        expires_at_ms=policy.ttl_s * 1000,
    )


def may_be_learned(result: RequestFinished) -> bool:
    """True for a whole answer in words that a provider gave. What is cut off, asks for a tool, or came from a cache is not learned."""
    message = result.message
    return (
        result.outcome == "answered"
        and result.served_by == "deployment"
        and result.finish_reason == "stop"
        and message is not None
        and not message.tool_calls
        and bool((message.content or "").strip())
    )


def another_may_lead(result: RequestFinished) -> bool:
    """True: the request failed in a way that an equal one may not. Else an equal one would end like it, so nobody waits for the next."""
    return result.outcome in _ANOTHER_MAY_SUCCEED


def learned(draft: AnswerLearned, result: RequestFinished) -> AnswerLearned:
    """The draft with its answer. From `result` alone, so that a repeat is equal. Only for what `may_be_learned`."""
    assert result.message is not None
    return replace(
        draft,
        message=result.message,
        finish_reason=result.finish_reason,
        citations=result.citations,
        usage=result.usage,
        cost_nano=result.cost_nano,
        deployment=result.deployment,
        model=result.model,
        learned_at_ms=result.finished_at_ms,
        expires_at_ms=result.finished_at_ms + draft.expires_at_ms,
    )
