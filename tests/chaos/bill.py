"""The provider's bill against the log, attempt by attempt. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from daytwo.audit import View
from daytwo.charging import charge
from daytwo.records import Quote, Usage


def unlike(view: View, calls: Sequence[Mapping[str, Any]], quote: Quote) -> Iterator[str]:
    """What the log books otherwise than `calls`, the list of `GET /bill`, at the prices of `quote`.

    An attempt that succeeded is booked at what was billed, one that failed was not billed, and one whose outcome is unknown is
    booked at no less than was billed.
    """
    billed: dict[str, int] = defaultdict(int)
    for call in calls:
        usage = Usage(input_tokens=call["prompt_tokens"], output_tokens=call["completion_tokens"])
        billed[call["attempt_id"]] += charge(quote, usage)
    for attempt_id in sorted(billed.keys() - view.attempts.keys()):
        yield f"{attempt_id} was billed {billed[attempt_id]} and is not on the log"
    for attempt_id, attempt in view.attempts.items():
        booked = attempt.cost_nano if attempt.outcome else attempt.bound_nano or 0
        exact = attempt.outcome in ("succeeded", "failed")
        if booked < billed[attempt_id] or (exact and booked != billed[attempt_id]):
            yield f"{attempt_id} of {'/'.join(attempt.key)} ({attempt.outcome or 'no end'}) is booked {booked}, billed {billed[attempt_id]}"
