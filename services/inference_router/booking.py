"""From what a provider did to what is booked for it. No I/O.

succeeded   an answer came: charged by its usage, or by the worst case where it does not say it credibly
failed      known not to be charged: never sent, or an error status came
unknown     sent, and no whole answer came: it may have been charged and counts in full
"""

from __future__ import annotations

from dataclasses import dataclass

from daytwo.charging import bound_nano, charge
from daytwo.records import AttemptFinished, AttemptOutcome, AttemptStarted, Message, Quote, RequestGrounded, Usage
from services.inference_router.chat_answer import MalformedAnswerError, read_answer
from services.inference_router.ports import Reply, Silence
from services.inference_router.retry import retry_after_ms

NOTHING = Usage()


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """How an attempt ended, and what it costs."""

    outcome: AttemptOutcome
    reason: str = ""
    status: int = 0
    message: Message | None = None
    finish_reason: str = ""
    usage: Usage = NOTHING
    cost_nano: int = 0
    retry_after_ms: int | None = None


def most_usage(grounded: RequestGrounded) -> Usage:
    """The tokens one attempt was reserved for."""
    return Usage(input_tokens=grounded.admission.input_tokens_bound, output_tokens=grounded.request.max_tokens)


def most_nano(grounded: RequestGrounded, quote: Quote) -> int:
    """What one attempt was reserved for."""
    return bound_nano(quote, grounded.admission.input_tokens_bound, grounded.request.max_tokens)


def book(grounded: RequestGrounded, quote: Quote, end: Reply | Silence, now_ms: int) -> Booking:
    if isinstance(end, Silence):
        return _unknown(grounded, quote, end.reason, 0) if end.sent else Booking(outcome="failed", reason=end.reason)
    if not 200 <= end.status < 300:
        wait_ms = retry_after_ms(end.retry_after, now_ms)
        return Booking(outcome="failed", reason=f"status_{end.status}", status=end.status, retry_after_ms=wait_ms)
    try:
        answer = read_answer(end.body)
    except MalformedAnswerError as error:
        return _unknown(grounded, quote, error.reason, end.status)
    usage = answer.usage
    return Booking(
        outcome="succeeded",
        reason="" if usage is not None else "usage_missing",
        status=end.status,
        message=answer.message,
        finish_reason=answer.finish_reason,
        usage=usage if usage is not None else most_usage(grounded),
        cost_nano=charge(quote, usage) if usage is not None else most_nano(grounded, quote),
    )


def finished(started: AttemptStarted, booking: Booking, *, latency_ms: float, now_ms: int) -> AttemptFinished:
    """The end of `started`, as it goes on the log."""
    return AttemptFinished(
        attempt_id=started.attempt_id,
        request_id=started.request_id,
        tenant=started.tenant,
        session=started.session,
        number=started.number,
        deployment=started.deployment,
        model=started.model,
        outcome=booking.outcome,
        reason=booking.reason,
        status=booking.status,
        message=booking.message,
        finish_reason=booking.finish_reason,
        usage=booking.usage,
        cost_nano=booking.cost_nano,
        retry_after_ms=booking.retry_after_ms,
        latency_ms=latency_ms,
        ended_at_ms=now_ms,
    )


def lost(grounded: RequestGrounded, started: AttemptStarted, now_ms: int) -> AttemptFinished:
    """The end of an attempt that has none: whoever made it died over it. It counts in full."""
    booking = Booking(outcome="unknown", reason="lost", usage=most_usage(grounded), cost_nano=started.bound_nano)
    return finished(started, booking, latency_ms=float(max(0, now_ms - started.started_at_ms)), now_ms=now_ms)


def _unknown(grounded: RequestGrounded, quote: Quote, reason: str, status: int) -> Booking:
    return Booking(outcome="unknown", reason=reason, status=status, usage=most_usage(grounded), cost_nano=most_nano(grounded, quote))
