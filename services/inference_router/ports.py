"""What the router needs from outside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from daytwo.records import AttemptFinished, AttemptStarted, DeploymentConfigured


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer that came whole; of an error status the body may be cut. `retry_after` is the header as sent."""

    status: int
    body: bytes
    retry_after: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """No answer. `sent` is False only where it is sure that the provider never got the request."""

    reason: str
    sent: bool
    ours: bool = False
    """The time ran out while our own event loop was late: it says nothing about the provider."""


class Provider(Protocol):
    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def call(
        self, deployment: DeploymentConfigured, body: bytes, attempt_id: str, timeout_s: float, on_its_way: Callable[[], None]
    ) -> Reply | Silence:
        """One call, once. Returns within `timeout_s` seconds, and raises nothing but CancelledError. Calls `on_its_way` when the
        request is written to a connection."""
        ...


Attempt = AttemptStarted | AttemptFinished


class JournalReader(Protocol):
    async def start(self) -> None:
        """Raises RetryableError while the log is not there."""
        ...

    async def stop(self) -> None: ...

    async def read(self, since_ms: Mapping[int, int], take: Callable[[int, Attempt], None]) -> None:
        """Hands over what the journal holds of each partition, from a moment (epoch milliseconds) or somewhat before it, to
        its end as of the call. Raises RetryableError; a repeat hands over the same again."""
        ...
