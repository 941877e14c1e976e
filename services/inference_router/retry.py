"""What a call's end means: for the request, for the deployment, and for the time until the next one. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final, Literal

from daytwo.records import AttemptFinished
from services.inference_router.breaker import Health

Verdict = Literal["answered", "refused", "elsewhere", "again"]
"""refused: every deployment would refuse this request. elsewhere: this deployment cannot serve it, another may.
again: this deployment, too, may serve it later."""

OUR_FAULT: Final = frozenset({401, 402, 403, 404})
"""Our key, our account, our address or model name: wrong with the deployment's configuration, not with the request."""
PASSING: Final = frozenset({408, 409, 425, 429})

_LONGEST_WAIT_MS: Final = 10**12

_DEPLOYMENT_REASONS: Final = frozenset({"no_api_key", "invalid_url"})
_REQUEST_REASONS: Final = frozenset({"answer_too_large", "not_sent", "deadline", "lost"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Milliseconds. Back-off is drawn from 0 to `base_ms` doubled with each try, at most `most_ms` (full jitter, by
    Marc Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog)."""

    base_ms: int = 200
    most_ms: int = 10_000
    cool_down_ms: int = 1_000
    """After a 429 that does not say how long."""
    patience_ms: int = 5_000
    """A call given less time than this, because the request's deadline was near, says nothing about the deployment when it times out."""

    def patience_s(self, timeout_ms: int) -> float:
        """Seconds a deployment with this time-out must have had before its silence is a fault of its own."""
        return min(timeout_ms, self.patience_ms) / 1000

    def cool_down_after(self, attempt: AttemptFinished) -> int | None:
        """Milliseconds nobody is to call the deployment after this attempt; None: no need."""
        if verdict(attempt) != "again":
            return None
        return self.cool_down_ms if attempt.status == 429 and attempt.retry_after_ms is None else attempt.retry_after_ms

    def back_off_s(self, tries: int, rng: Random) -> float:
        """Seconds to wait before the same deployment is used again after `tries` failures of it, 1 or more."""
        ceiling_ms: int = min(self.base_ms << min(tries - 1, 32), self.most_ms)
        return rng.random() * ceiling_ms / 1000


def verdict(attempt: AttemptFinished) -> Verdict:
    """What is to be done after an attempt: a function of what is on the log, so that a repeat comes to the same."""
    if attempt.outcome == "succeeded":
        return "answered"
    if attempt.status in OUR_FAULT or 300 <= attempt.status < 400 or attempt.reason in _DEPLOYMENT_REASONS:
        return "elsewhere"
    if 400 <= attempt.status < 500 and attempt.status not in PASSING:
        return "refused"
    return "again"


def health(attempt: AttemptFinished) -> Health:
    """What an attempt says about its deployment. A refused request is answered by a deployment that is well; a 429
    is no fault, and neither is what the request itself brought about."""
    if attempt.status == 429 or attempt.reason in _REQUEST_REASONS:
        return "unclear"
    if attempt.outcome == "succeeded" or verdict(attempt) == "refused" or attempt.status in (409, 425):
        return "well"
    return "ill"


def retry_after_ms(value: str | None, now_ms: int) -> int | None:
    """Milliseconds the header Retry-After asks for, as seconds or HTTP date (RFC 9110, 10.2.3), at most 10^12.

    None: it says nothing readable.
    """
    if value is None or len(value) > 64:
        return None
    text = value.strip()
    if text.isascii() and text.replace(".", "", 1).isdigit():
        return int(min(float(text) * 1000, _LONGEST_WAIT_MS))
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    wait_ms = int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000) - now_ms
    return min(max(0, wait_ms), _LONGEST_WAIT_MS)
