"""The bill against the log: nothing is booked below what was charged."""

from __future__ import annotations

from typing import Any

from daytwo.audit import View
from daytwo.audit.view import Attempt
from tests.chaos.bill import unlike
from tests.chaos.load import PRICE

COST = 11_100
"""Nano-dollars: 18 tokens in at 150 and 14 out at 600 each."""


def call(attempt_id: str) -> dict[str, Any]:
    return {"attempt_id": attempt_id, "prompt_tokens": 18, "completion_tokens": 14}


def log(outcome: str, cost_nano: int, bound_nano: int = 50_000) -> View:
    view = View()
    view.attempts["a1"] = Attempt("a1", ("plain", "r1"), bound_nano=bound_nano, outcome=outcome, cost_nano=cost_nano)
    return view


def test_an_answer_booked_at_its_charge_is_in_order() -> None:
    assert not list(unlike(log("succeeded", COST), [call("a1")], PRICE))


def test_one_attempt_that_was_bought_twice_and_booked_once_is_told() -> None:
    assert list(unlike(log("succeeded", COST), [call("a1"), call("a1")], PRICE)) == [
        f"a1 of plain/r1 (succeeded) is booked {COST}, billed {2 * COST}"
    ]


def test_an_answer_booked_above_its_charge_is_told() -> None:
    assert list(unlike(log("succeeded", COST + 1), [call("a1")], PRICE))


def test_a_failure_that_was_charged_is_told() -> None:
    assert list(unlike(log("failed", 0), [call("a1")], PRICE))


def test_an_unknown_outcome_may_be_booked_above_its_charge_and_never_below() -> None:
    assert not list(unlike(log("unknown", 50_000), [call("a1")], PRICE))
    assert not list(unlike(log("unknown", 50_000), [], PRICE))
    assert list(unlike(log("unknown", COST - 1), [call("a1")], PRICE))


def test_an_attempt_without_end_counts_at_its_bound() -> None:
    assert not list(unlike(log("", 0), [call("a1")], PRICE))
    assert list(unlike(log("", 0, bound_nano=COST - 1), [call("a1")], PRICE))


def test_a_charge_for_no_attempt_of_ours_is_told() -> None:
    assert list(unlike(View(), [call("a1")], PRICE)) == [f"a1 was billed {COST} and is not on the log"]
