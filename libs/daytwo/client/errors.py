"""What can go wrong for a client, drawn once:

    ClientError
    ├── InvalidInputError        what was given is no request or document; nothing was sent
    ├── NotConnectedError        the client is not open, or Kafka does not answer; nothing was sent
    ├── NotAcknowledgedError     Kafka did not confirm the record: it may be on the log, or not
    ├── UnreadableResultError    a result came that this version of daytwo cannot read
    ├── WaitTimeoutError         no result within deadline and grace (also a TimeoutError)
    ├── RequestError             the request ended without an answer; has `result`
    │   ├── RefusedError         it will be refused again as it is
    │   │   ├── BudgetExceededError    until the cap renews
    │   │   └── OverloadedError        until the queue is shorter
    │   ├── ExpiredError         its deadline passed first
    │   └── FailedError          something broke; trying again may help
    └── DocumentError            the document was refused or failed; has `result`

Each message says what to do.
"""

from __future__ import annotations

from typing import Final

from daytwo.records import DocumentFinished, RequestFinished


class ClientError(Exception):
    """Everything the client raises on purpose."""


class InvalidInputError(ClientError, ValueError):
    """Correct the argument the message names."""


class NotConnectedError(ClientError, ConnectionError):
    """Open the client with `async with`, or see that Kafka runs at its address."""


class NotAcknowledgedError(ClientError):
    """Submit again with the same id: the same id again has the same effect as once."""

    def __init__(self, message: str, record_id: str) -> None:
        super().__init__(message)
        self.record_id = record_id


class UnreadableResultError(ClientError):
    """Upgrade daytwo: the services write results of a newer schema."""


class WaitTimeoutError(ClientError, TimeoutError):
    """Await `result(id)` again, or read `daytwo results --request ID`: the result may still come."""

    def __init__(self, message: str, record_ids: tuple[str, ...]) -> None:
        super().__init__(message)
        self.record_ids = record_ids


class RequestError(ClientError):
    """The request ended without an answer. `retry_after` is in seconds; None: trying again as it is does not help."""

    advice = "see reason and detail"

    def __init__(self, result: RequestFinished) -> None:
        detail = f": {result.detail}" if result.detail else ""
        super().__init__(f"request {result.request_id} {result.outcome}, {result.reason}{detail} ({self._advice(result)})")
        self.result = result
        self.retry_after = None if result.retry_after_ms is None else result.retry_after_ms / 1000

    def _advice(self, result: RequestFinished) -> str:
        return self.advice if result.retry_after_ms is None else f"try again after {result.retry_after_ms / 1000:g} s"


class RefusedError(RequestError):
    advice = "correct the request or the tenant's configuration; as it is it will be refused again"


class BudgetExceededError(RefusedError):
    advice = "raise the cap in daytwo.yaml and apply it"


class OverloadedError(RefusedError):
    advice = "ask again later, with a new request id"


class ExpiredError(RequestError):
    advice = "ask again with a longer timeout"


class FailedError(RequestError):
    advice = "ask again with a new request id; `daytwo dead-letters list` may say more"


class DocumentError(ClientError):
    """The document is not served in this version; an older version of the source still is."""

    def __init__(self, result: DocumentFinished) -> None:
        advice = "correct the document" if result.outcome == "refused" else "add it again"
        detail = f": {result.detail}" if result.detail else ""
        super().__init__(f"document {result.source} {result.outcome}, {result.reason}{detail} ({advice})")
        self.result = result


_REFUSED: Final = {"budget_exceeded": BudgetExceededError, "overloaded": OverloadedError}


def request_error(result: RequestFinished) -> RequestError | None:
    """The error a result stands for; None where there is an answer, in part or in full, or a person has it."""
    if result.outcome == "refused":
        return _REFUSED.get(result.reason, RefusedError)(result)
    if result.outcome == "expired":
        return ExpiredError(result)
    return FailedError(result) if result.outcome == "failed" else None


def document_error(result: DocumentFinished) -> DocumentError | None:
    return DocumentError(result) if result.outcome in ("refused", "failed") else None
