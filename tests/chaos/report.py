"""What people read of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from statistics import median

from tests.chaos.run import Outcome, Run

SHOWN = 8


def table(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Recovery by kind of fault, as Markdown."""
    yield "| fault | times | recovery, median s | worst s | goal s | |"
    yield "|---|---|---|---|---|---|"
    for name in dict.fromkeys(map(_kind, outcomes)):
        of = [outcome for outcome in outcomes if _kind(outcome) == name]
        done = [outcome.recovered_s for outcome in of if outcome.recovered_s is not None]
        notes = "; ".join(dict.fromkeys(outcome.note for outcome in of if outcome.note))
        lost = "" if len(done) == len(of) or notes else "not recovered"
        middle, worst = (f"{median(done):.1f}", f"{max(done):.1f}") if done else ("-", "-")
        over = "over" if done and max(done) > of[0].goal_s else ""
        yield f"| {name} | {len(of)} | {middle} | {worst} | {of[0].goal_s:.0f} | {notes or lost or over} |"


def story(run: Run) -> Iterator[str]:
    """Everything, in the order in which one asks."""
    yield from table(run.outcomes)
    yield f"load average {min(run.busy, default=0)} to {max(run.busy, default=0)} on {os.cpu_count()} cores"
    yield f"usual latency {run.usual_ms:.0f} ms, {run.probes} probes; sent {_counts(run.sent.kinds)}"
    for tenant, outcomes in sorted(run.verdict.outcomes.items()):
        yield f"  {tenant}: {_counts(outcomes)}"
    yield f"backlog gone after {run.verdict.backlog_s} s"
    for check, wrong in run.verdict.wrong.items():
        yield f"{'ok ' if not wrong else 'NO '} {check}" + (f": {len(wrong)} times not" if wrong else "")
        yield from (f"      {line}" for line in wrong[:SHOWN])


def _kind(outcome: Outcome) -> str:
    of_kafka = "kafka" in outcome.step.targets and "Kafka" not in outcome.step.fault
    return f"{outcome.step.fault}, of Kafka" if of_kafka else outcome.step.fault


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
