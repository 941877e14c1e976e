"""A provider's own bill against the journal, attempt by attempt. Pure.

equal      both say the same; an attempt that failed and is not on the bill is equal, too
missing    one of the two has it and the other has not
different  both have it, and not with the same tokens or money; or it is on the bill twice
unknown    the log does not know how it ended, or what it used: it was booked in full

Nothing but unknown may be booked at more than it was billed, and nothing at all at less.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from daytwo.charging import charge
from daytwo.money.attempts import Attempt, Quotes
from daytwo.records import Quote, Usage

Class = Literal["equal", "missing", "different", "unknown"]
CLASSES: tuple[Class, ...] = ("equal", "missing", "different", "unknown")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A charged call on the bill. `attempt_id` is empty where the bill does not say it; `billed_nano` None where it says tokens only."""

    attempt_id: str
    usage: Usage
    billed_nano: int | None = None
    at_ms: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What became of one attempt, or of one line of the bill. Money in nano-dollars; `billed_nano` None: it cannot be priced."""

    kind: Class
    attempt_id: str
    detail: str = ""
    attempt: Attempt | None = None
    booked_nano: int = 0
    billed_nano: int | None = 0

    @property
    def under_booked(self) -> bool:
        """More was billed than booked, or perhaps: what the log does not know at all was not booked."""
        return self.billed_nano is None or self.billed_nano > self.booked_nano


def reconcile(
    attempts: Iterable[Attempt], lines: Iterable[Line], quotes: Quotes, *, corrected: Mapping[str, int], whole_bill: bool = True
) -> Iterator[Verdict]:
    """A verdict for each attempt and for each line that belongs to none.

    `corrected`: nano-dollars by attempt that earlier corrections added. `whole_bill` False: what is not on it is not judged.
    """
    billed: dict[str, list[Line]] = defaultdict(list)
    for line in lines:
        billed[line.attempt_id].append(line)
    for line in billed.pop("", []):
        yield Verdict(kind="missing", attempt_id="", detail="a line of the bill that names no attempt", billed_nano=line.billed_nano)
    for attempt in attempts:
        found = billed.pop(attempt.attempt_id, [])
        booked_nano = attempt.booked_nano + corrected.get(attempt.attempt_id, 0)
        if found or whole_bill:
            yield _verdict(attempt, booked_nano, found, quotes.of(attempt))
    for attempt_id, found in billed.items():
        known = all(line.billed_nano is not None for line in found)
        billed_nano = sum(line.billed_nano or 0 for line in found) if known else None
        yield Verdict(kind="missing", attempt_id=attempt_id, detail="is on the bill and not on the log", billed_nano=billed_nano)


def _verdict(attempt: Attempt, booked_nano: int, lines: list[Line], quote: Quote | None) -> Verdict:
    billed_nano = _billed(lines, quote)
    kind, detail = _judged(attempt, booked_nano, lines, billed_nano)
    return Verdict(
        kind=kind, attempt_id=attempt.attempt_id, detail=detail, attempt=attempt, booked_nano=booked_nano, billed_nano=billed_nano
    )


def _judged(attempt: Attempt, booked_nano: int, lines: list[Line], billed_nano: int | None) -> tuple[Class, str]:
    if len(lines) > 1:
        return "different", f"is on the bill {len(lines)} times"
    if not attempt.certain:
        return ("equal", "") if billed_nano == booked_nano else ("unknown", attempt.reason or attempt.outcome)
    if not lines:
        return ("equal", "") if not booked_nano else ("missing", "was booked and is not on the bill")
    if billed_nano is not None and billed_nano != booked_nano:
        return "different", f"{attempt.outcome}, {_tokens(attempt.usage)} on the log, {_tokens(lines[0].usage)} on the bill"
    if attempt.usage is not None and _counts(attempt.usage) != _counts(lines[0].usage):
        return "different", f"{_tokens(attempt.usage)} on the log, {_tokens(lines[0].usage)} on the bill"
    return "equal", ""


def _billed(lines: list[Line], quote: Quote | None) -> int | None:
    """In money where the bill says it, else its tokens at the quote of the request."""
    total = 0
    for line in lines:
        if line.billed_nano is not None:
            total += line.billed_nano
        elif quote is not None:
            total += charge(quote, line.usage)
        else:
            return None
    return total


def _counts(usage: Usage) -> tuple[int, int]:
    return usage.input_tokens, usage.output_tokens


def _tokens(usage: Usage | None) -> str:
    return "nothing" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens"
