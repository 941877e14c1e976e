"""What a run says of itself."""

from __future__ import annotations

from tests.chaos.plan import Step
from tests.chaos.report import story, table
from tests.chaos.run import Outcome, Run


def outcome(recovered_s: float | None, *, fault: str = "kill a store", target: str = "milvus", note: str = "") -> Outcome:
    return Outcome(step=Step(at_s=1, fault=fault, targets=(target,)), recovered_s=recovered_s, note=note)


def test_a_kind_of_fault_has_one_row_with_its_median_and_worst_recovery() -> None:
    rows = list(table([outcome(1.0), outcome(2.0), outcome(11.0)]))

    assert rows[2:] == ["| kill a store | 3 | 2.0 | 11.0 | 10 | over |"]


def test_connections_to_kafka_have_the_goal_of_kafka_and_a_row_of_their_own() -> None:
    rows = list(table([outcome(12.0, fault="cut connections", target="kafka"), outcome(1.0, fault="cut connections")]))

    assert rows[2:] == ["| cut connections, of Kafka | 1 | 12.0 | 12.0 | 30 |  |", "| cut connections | 1 | 1.0 | 1.0 | 10 |  |"]


def test_what_did_not_recover_and_what_was_skipped_is_said() -> None:
    rows = list(table([outcome(None), outcome(None, fault="fill Kafka's disk", target="kafka", note="SKIPPED: run as root")]))

    assert rows[2:] == [
        "| kill a store | 1 | - | - | 10 | not recovered |",
        "| fill Kafka's disk | 1 | - | - | 30 | SKIPPED: run as root |",
    ]


def test_a_broken_promise_is_counted_and_shown() -> None:
    run = Run()
    run.verdict.wrong = {"the audit is clean": ["lost: r1"], "the bill is booked": []}

    lines = list(story(run))

    assert "NO  the audit is clean: 1 times not" in lines
    assert "      lost: r1" in lines
    assert "ok  the bill is booked" in lines
