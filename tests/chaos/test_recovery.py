"""Recovery is counted from the end of a fault to the first of three normal answers in a row, on every way."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.chaos.recovery import Probe, recovered_at, usual

USUAL_S = 0.1


def probes(row: str, latencies: Sequence[float], *, start: float = 10.0, answered: bool = True) -> list[Probe]:
    """One each second."""
    return [
        Probe(row=row, sent=start + number, done=start + number + latency, answered=answered) for number, latency in enumerate(latencies)
    ]


def test_three_normal_answers_in_a_row_are_recovery_at_the_first_of_them() -> None:
    assert recovered_at(probes("a", [5.0, 0.1, 4.0, 0.2, 0.1, 0.1]), 10.0, USUAL_S) == pytest.approx(13.2)


def test_two_are_not_enough() -> None:
    assert recovered_at(probes("a", [5.0, 0.1, 0.1]), 10.0, USUAL_S) is None


def test_the_slowest_way_counts() -> None:
    both = probes("a", [0.1] * 5) + probes("b", [9.0, 0.1, 0.1, 0.1])

    assert recovered_at(both, 10.0, USUAL_S) == pytest.approx(11.1)


def test_a_way_without_answers_has_not_recovered() -> None:
    both = probes("a", [0.1] * 5) + probes("b", [0.1] * 3, start=1.0)

    assert recovered_at(both, 10.0, USUAL_S) is None


def test_what_was_sent_before_the_end_does_not_count() -> None:
    assert recovered_at(probes("a", [0.1] * 5, start=9.0), 10.5, USUAL_S) == pytest.approx(11.1)


def test_a_quick_refusal_is_no_recovery() -> None:
    assert recovered_at(probes("a", [0.1] * 5, answered=False), 10.0, USUAL_S) is None


def test_usual_is_the_median_of_the_slowest_way() -> None:
    assert usual([*probes("a", [0.1, 0.1, 9.0]), *probes("b", [0.2, 0.3, 0.2])]) == pytest.approx(0.2)
