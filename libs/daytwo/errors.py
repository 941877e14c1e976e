"""What can go wrong, drawn once:

    DaytwoError
    ├── TerminalError      can never succeed: dead letter and terminal result
    │   └── UnreadableError    bytes that are no record of their topic
    └── RetryableError     may succeed later: back off, until the deadline

    DisownedError          the record is another member's now: nothing is said of it here

Anything else that leaves a handler is a bug: dead letter with its traceback, terminal result, and several in a row stop the service.
"""

from __future__ import annotations


class DaytwoError(Exception):
    """`reason` is a code a program can match (reasons.py), `detail` the same in words."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class TerminalError(DaytwoError):
    """The record can never be processed; trying again changes nothing."""


class UnreadableError(TerminalError):
    """The bytes are not a record of the topic. `partial` is what could be read of it, if anything."""

    def __init__(self, reason: str, detail: str = "", partial: object = None) -> None:
        super().__init__(reason, detail)
        self.partial = partial


class RetryableError(DaytwoError):
    """The same record may succeed later. `retry_after_s`: seconds to wait at least, if whoever refused said so."""

    def __init__(self, reason: str, detail: str = "", retry_after_s: float | None = None) -> None:
        super().__init__(reason, detail)
        self.retry_after_s = retry_after_s


class DisownedError(Exception):
    """The partition has moved to another member of the group, who handles the record. No fate: nothing is sent, nothing committed."""
