"""What a provider answers, once it is bytes: it is booked, whatever it is, and what is booked fits on the log."""

from __future__ import annotations

from typing import Any, Final

import orjson

from daytwo.broker import Outgoing, outgoing
from daytwo.records import Quote
from daytwo.topics import TOPIC_NAMED
from services.inference_router import booking, endings
from services.inference_router.chat_answer import refusal
from services.inference_router.journal import Attempts
from services.inference_router.ports import Reply
from services.inference_router.retry import RetryPolicy, retry_after_ms
from tests.inference_router.builders import NOON, Bench, grounded, quote, started

STATUSES: Final = (200, 200, 200, 201, 204, 302, 400, 429, 500, 503)
LONGEST_MS: Final = 10**12


def answer(data: bytes) -> None:
    """A status number, the header Retry-After up to the first line end, the body."""
    header, _, body = data[1:].partition(b"\n")
    status = STATUSES[(data[0] if data else 0) % len(STATUSES)]
    reply = Reply(status=status, body=body, retry_after=header.decode("utf-8", "surrogateescape") or None)
    request, price = grounded(), quote()
    booked = booking.book(request, price, reply, NOON)
    _check_money(booked, price, request)
    ended = booking.finished(started(), booked, latency_ms=1.0, now_ms=NOON)
    _check_fits(outgoing(ended))
    assert len(refusal(body)) <= 300
    wait = RetryPolicy().cool_down_after(ended)
    assert wait is None or 0 <= wait <= LONGEST_MS
    attempts = Attempts(started={ended.attempt_id: started()}, finished={ended.attempt_id: ended})
    if booked.outcome == "succeeded":
        _check_fits(outgoing(endings.answered(request, attempts, ended, Bench().context())))
    else:
        _check_fits(outgoing(endings.unanswered(request, attempts, Bench().context(), "providers_unavailable", retry_after_ms=wait)))


def _check_money(booked: booking.Booking, price: Quote, request: Any) -> None:
    """Without a credible usage the worst case is booked; nothing is ever free that may have been charged."""
    assert booked.cost_nano >= 0
    if booked.outcome == "unknown" or booked.reason == "usage_missing":
        assert booked.cost_nano == booking.most_nano(request, price)
    if booked.outcome == "failed":
        assert booked.cost_nano == 0
        assert not 200 <= booked.status < 300


def _check_fits(record: Outgoing) -> None:
    assert len(record.value or b"") <= TOPIC_NAMED[record.topic].max_bytes


def retry_after(data: bytes) -> None:
    found = retry_after_ms(data.decode("utf-8", "surrogateescape"), NOON)
    assert found is None or 0 <= found <= LONGEST_MS


def completion(**fields: Any) -> bytes:
    message: dict[str, Any] = {"role": "assistant", "content": "A breaker."}
    usage = {"prompt_tokens": 9, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 4}}
    return orjson.dumps({"id": "c", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage, **fields})


def answer_seeds() -> list[bytes]:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    calls = [{"message": {"content": None, "tool_calls": [call]}, "finish_reason": "tool_calls"}]
    error = orjson.dumps({"error": {"message": "Too many", "type": "rate"}})
    bodies = [
        completion(),
        completion(choices=calls),
        completion(usage={"prompt_tokens": -1, "completion_tokens": 3}),
        completion().replace(b'"prompt_tokens":9', b'"prompt_tokens":%d' % 2**70),
        completion(usage=None),
        completion(choices=[]),
        b'{"choices": [{"message": {"content": "x"}}], "usage": {"prompt_tokens": NaN}}',
        b"[" * 3000,
    ]
    return [*(b"\0\n" + body for body in bodies), b"\x0717\n" + error, b"\x07Fri, 31 Dec 9999 23:59:59 GMT\n" + error]


def retry_after_seeds() -> list[bytes]:
    return [
        b"120",
        b"1.5",
        b"Wed, 21 Oct 2026 07:28:00 GMT",
        b"Fri, 31 Dec 9999 23:59:59 -2359",
        b"9" * 64,
        b"Mon, 1 Jan 0001 00:00:00 +2359",
    ]
