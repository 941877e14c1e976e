"""The provider's bill against the journal."""

from __future__ import annotations

from typing import Any

from daytwo.audit import Charge, against_bill
from daytwo.records import Usage
from tests.audit.builders import Log, accepted, attempt_id, ended, started


def rules(log: Log, *charges: Charge) -> list[str]:
    return [violation.rule for violation in against_bill(log.view(), charges)]


def bought(**fields: Any) -> Log:
    """A request with one attempt of 10 + 5 tokens."""
    log = Log()
    log.write(accepted("r1"), started("r1"), ended("r1", **{"usage": Usage(input_tokens=10, output_tokens=5), **fields}))
    return log


CHARGE = Charge(attempt_id("r1", 1), 10, 5)


def test_a_bill_that_says_what_the_journal_says_breaks_nothing() -> None:
    assert rules(bought(), CHARGE) == []


def test_a_token_more_or_less_than_is_booked_as_known_is_told() -> None:
    assert rules(bought(), CHARGE._replace(output_tokens=6)) == ["below_bill"]
    assert rules(bought(), CHARGE._replace(output_tokens=4)) == ["below_bill"]


def test_an_unknown_outcome_covers_what_was_charged_up_to_its_bound() -> None:
    unknown = bought(outcome="unknown", reason="timeout", message=None)

    assert rules(unknown, CHARGE._replace(output_tokens=1)) == []
    assert rules(unknown, CHARGE._replace(output_tokens=6)) == ["below_bill"]


def test_a_charge_for_an_attempt_that_is_booked_as_failed_or_is_not_there_is_told() -> None:
    assert rules(bought(outcome="failed", reason="status_500", message=None), CHARGE) == ["below_bill"]
    assert rules(Log(), CHARGE) == ["below_bill"]


def test_two_charges_under_one_attempt_are_told_even_where_it_has_no_end() -> None:
    open_attempt = Log()
    open_attempt.write(accepted("r1"), started("r1"))

    assert rules(open_attempt, CHARGE) == []
    assert rules(open_attempt, CHARGE, CHARGE) == ["below_bill"]


def test_what_succeeded_and_is_on_no_bill_is_told() -> None:
    assert rules(bought()) == ["not_on_bill"]
