"""The audit from beginning to end: read, wait until it is quiet, compare, report."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from daytwo.audit.bill import Charge, against_bill
from daytwo.audit.invariants import RULES, Violation, invariants
from daytwo.audit.ledger import differences
from daytwo.audit.reading import Reading
from daytwo.audit.view import View
from daytwo.broker import Reader
from daytwo.clock import Clock

POLL_S: Final = 0.25

LedgerView = Callable[[], Awaitable[Mapping[str, Any]]]
"""cost-meter's `/ledger`. Raises RetryableError where it does not answer."""

Bill = Callable[[], Awaitable[Sequence[Charge]]]
"""What providers charged for under attempt ids. Raises RetryableError where it does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was found. Clean: no violations. Money in nano-dollars."""

    counts: Mapping[str, int]
    money: Mapping[str, Mapping[str, int]]
    """By tenant."""
    dead_letters: Mapping[str, int]
    """By service and reason."""
    violations: Sequence[Violation]
    notes: Sequence[str] = field(default=())
    """What could not be checked, and why."""

    @property
    def clean(self) -> bool:
        return not self.violations

    def as_json(self) -> dict[str, Any]:
        return {
            "clean": self.clean,
            "counts": dict(self.counts),
            "money": {tenant: dict(sums) for tenant, sums in self.money.items()},
            "dead_letters": dict(self.dead_letters),
            "violations": [{"rule": v.rule, "promise": RULES[v.rule], "ids": list(v.ids), "detail": v.detail} for v in self.violations],
            "notes": list(self.notes),
        }


async def audit(
    reader: Reader,
    clock: Clock,
    *,
    ledger: LedgerView | None,
    bill: Bill | None = None,
    since_ms: int | None = None,
    grace_s: float = 60.0,
    settle_s: float = 10.0,
    clocks_s: float = 0.0,
) -> Report:
    """Reads the log and judges it.

    Waits up to `settle_s` seconds until nothing is open and the ledger agrees, for what is under way looks like a difference.
    A request may end `grace_s` seconds after its deadline; the clocks of the services differ by at most `clocks_s`. Raises
    RetryableError where the log, the ledger or the bill does not answer.
    """
    view = View()
    reading = Reading(reader, view, clock, since_ms=since_ms)
    charged, differ = await _settled(view, reading, clock, ledger, bill, clock.monotonic() + settle_s)
    now_ms, grace_ms, clocks_ms = clock.now_ms(), int(grace_s * 1000), int(clocks_s * 1000)
    report = judge(view, differ, now_ms=now_ms, grace_ms=grace_ms, with_ledger=ledger is not None, clocks_ms=clocks_ms)
    return report if bill is None else _with_bill(report, view, charged)


async def _settled(
    view: View, reading: Reading, clock: Clock, ledger: LedgerView | None, bill: Bill | None, late: float
) -> tuple[Sequence[Charge], Sequence[Violation]]:
    """The bill, and how the ledger differs, once nothing is open or it is late; the view is then read up to there."""
    while True:
        # The bill first: what is on it then has its attempt on the log that is read afterwards.
        charged = [] if bill is None else await bill()
        await reading.catch_up()
        differ = [] if ledger is None else list(differences(view, await ledger()))
        if not (differ or open_requests(view)) or clock.monotonic() >= late:
            return charged, differ
        await clock.sleep(POLL_S)


def _with_bill(report: Report, view: View, charged: Sequence[Charge]) -> Report:
    """What succeeded after the bill was fetched is not on it, so that is not held against the journal here."""
    broken = [violation for violation in against_bill(view, charged) if violation.rule != "not_on_bill"]
    return replace(report, violations=[*report.violations, *broken])


def judge(view: View, differ: Sequence[Violation], *, now_ms: int, grace_ms: int, with_ledger: bool, clocks_ms: int = 0) -> Report:
    """The report on a view. `differ`: how the ledger differs; it counts only where nothing is open any more."""
    rules = invariants(now_ms=now_ms, grace_ms=grace_ms, clocks_ms=clocks_ms)
    broken = [violation for invariant in rules for violation in invariant(view)]
    waiting = open_requests(view)
    lost = sum(violation.rule == "lost" for violation in broken)
    quiet = waiting == lost
    notes = [] if with_ledger else ["the ledger was not compared"]
    if differ and not quiet:
        notes.append(f"the ledger was not compared: {waiting - lost} requests are open, and it moves ({len(differ)} differences)")
    if not view.whole:
        notes.append("the beginning of the log was not read: older requests were not judged, nor sums compared")
    notes += [f"{count} records of {topic} cannot be read" for topic, count in sorted(view.unreadable.items())]
    return Report(
        counts=counts(view, lost),
        money=money(view),
        dead_letters={f"{service} {reason}": count for (service, reason), count in sorted(view.dead_letters.items())},
        violations=[*broken, *differ] if quiet else broken,
        notes=notes,
    )


def open_requests(view: View) -> int:
    """Accepted and without a result."""
    return sum(not request.has_ended for _, request in view.accepted())


def counts(view: View, lost: int) -> dict[str, int]:
    accepted = [request for _, request in view.accepted()]
    waiting = sum(not request.has_ended for request in accepted)
    return {
        "accepted": len(accepted),
        "ended": len(accepted) - waiting,
        "open": waiting - lost,
        "lost": lost,
        "admitted": sum(request.admitted_at is not None for request in accepted),
        "not_accepted": sum(request.accepted_at is None and request.first is not None for request in view.requests.values()),
        "reused_ids": view.reused,
        "repeats": sum(request.repeats for request in view.requests.values()),
        "contradicting_repeats": sum(request.contradictions for request in view.requests.values()),
        "attempts": len(view.attempts),
        "attempts_succeeded": sum(attempt.outcome == "succeeded" for attempt in view.attempts.values()),
        "attempts_without_end": sum(not attempt.outcome for attempt in view.attempts.values()),
        "dead_letters": sum(view.dead_letters.values()),
        "unreadable": sum(view.unreadable.values()),
    }


def money(view: View) -> dict[str, dict[str, int]]:
    """Of each tenant: reserved for all that was admitted; of this settled, released, and still held."""
    found: dict[str, dict[str, int]] = {}
    for (tenant, _), request in view.accepted():
        sums = found.setdefault(tenant, dict.fromkeys(("reserved_nano", "settled_nano", "released_nano", "held_nano"), 0))
        sums["reserved_nano"] += request.reserved_nano
        if request.settling is None:
            sums["held_nano"] += request.reserved_nano
        else:
            sums["settled_nano"] += request.cost_nano
            sums["released_nano"] += request.reserved_nano - request.cost_nano
    return found
