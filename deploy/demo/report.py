"""The summary at the end."""

from __future__ import annotations

from collections.abc import Iterator

from deploy.demo.board import Board, dollars, duration
from deploy.demo.verdict import Evidence, counts, percentile, problems


def tell(board: Board, evidence: Evidence) -> None:
    board.say("\nSummary", style="bold")
    for line in summary(evidence):
        board.say(f"  {line}")
    found = problems(evidence)
    board.say("all went as it should" if not found else "not all went as it should:", style="green" if not found else "red")
    for problem in found:
        board.say(f"  {problem}", style="red")


def summary(evidence: Evidence) -> Iterator[str]:
    """Numbers of requests, money and time."""
    rows = evidence.rows
    yield f"requests    {evidence.asked}"
    for name, count in counts(rows).items():
        yield f"{count:>11} {name}"
    yield f"spent       {dollars(sum(row.cost_nano for row in rows))}"
    yield f"saved       {dollars(sum(row.saved_nano for row in rows))} by the cache"
    yield f"latency     {_latency([row.latency_ms for row in rows])}"
    yield f"from cache  {_latency([row.latency_ms for row in rows if row.served in ('exact', 'semantic')])}"


def _latency(values: list[float]) -> str:
    middle, high = percentile(values, 0.5), percentile(values, 0.99)
    return "-" if middle is None or high is None else f"p50 {duration(middle)}, p99 {duration(high)}"
