"""The provider's bill against the journal: the outside's own account of what was bought. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from daytwo.audit.invariants import Violation
from daytwo.audit.view import Attempt, View


class Charge(NamedTuple):
    """A call that a provider charged for; the attempt's id came in the header x-daytwo-attempt."""

    attempt_id: str
    input_tokens: int
    output_tokens: int


def against_bill(view: View, bill: Iterable[Charge]) -> Iterator[Violation]:
    """What is charged and not on the journal, or not in full; and what is booked as known and was charged otherwise.

    The bill may have calls of others than daytwo: give only those that carry an attempt id.
    """
    charged: dict[str, tuple[int, int, int]] = {}
    for charge in bill:
        calls, input_tokens, output_tokens = charged.get(charge.attempt_id, (0, 0, 0))
        charged[charge.attempt_id] = (calls + 1, input_tokens + charge.input_tokens, output_tokens + charge.output_tokens)
    for attempt_id, (calls, input_tokens, output_tokens) in charged.items():
        attempt = view.attempts.get(attempt_id)
        if wrong := _below(attempt, calls, input_tokens, output_tokens):
            ids = (attempt_id,) if attempt is None else (attempt_id, attempt.key[1], attempt.key[0])
            yield Violation(rule="below_bill", ids=ids, detail=wrong)
    for attempt_id, attempt in view.attempts.items():
        if attempt.outcome == "succeeded" and attempt_id not in charged:
            tenant, request_id = attempt.key
            yield Violation(rule="not_on_bill", ids=(attempt_id, request_id, tenant), detail="succeeded, and no provider charged for it")


def _below(attempt: Attempt | None, calls: int, input_tokens: int, output_tokens: int) -> str:
    """Why the journal does not cover what was charged under an attempt's id; empty: it does."""
    if attempt is None:
        return f"charged {calls} times and not in the journal"
    if not attempt.outcome:
        # No end: it counts with its bound, which is for one call.
        return "" if calls == 1 else f"charged {calls} times, and counts once"
    if attempt.outcome == "failed":
        return "charged, and booked as failed"
    if calls > 1 or input_tokens > attempt.input_tokens or output_tokens > attempt.output_tokens:
        return (
            f"charged {calls} times, {input_tokens}+{output_tokens} tokens in all; "
            f"{attempt.input_tokens}+{attempt.output_tokens} in the journal"
        )
    known = attempt.outcome == "succeeded" and attempt.usage_known
    if known and (input_tokens, output_tokens) != (attempt.input_tokens, attempt.output_tokens):
        return f"charged {input_tokens}+{output_tokens} tokens; {attempt.input_tokens}+{attempt.output_tokens} in the journal"
    return ""
