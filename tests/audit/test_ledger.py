from __future__ import annotations

from typing import Any

import pytest

from daytwo.audit import differences
from tests.audit.builders import Log, accepted, account, admitted, ended, finished, ledger, started


def rules(log: Log, view_of_ledger: dict[str, Any], *, whole: bool = True) -> list[str]:
    return [violation.rule for violation in differences(log.view(whole=whole), view_of_ledger)]


@pytest.fixture
def log() -> Log:
    """One request that cost 30 of 90, one that is open with 50."""
    log = Log()
    log.answered("r1", reserved=90, cost=30)
    log.write(accepted("r2"), admitted("r2", reserved=50))
    return log


def test_a_ledger_that_is_the_log_differs_in_nothing(log: Log) -> None:
    same = account(30, 50, ("r2",), hour=(30, 50), day=(30, 50), month=(30, 50))

    assert rules(log, ledger(acme=same)) == []


@pytest.mark.parametrize(
    "other",
    [
        account(31, 50, ("r2",)),
        account(30, 49, ("r2",)),
        account(30, 50, ("r2",), day=(29, 50)),
        account(30, 50, ("r2",), hour=(30, 51)),
    ],
)
def test_a_nano_dollar_more_or_less_is_told(log: Log, other: dict[str, Any]) -> None:
    assert rules(log, ledger(acme=other)) == ["ledger_differs"]


def test_a_tenant_the_ledger_has_lost_is_told(log: Log) -> None:
    assert sorted(rules(log, ledger())) == ["ledger_differs", "not_held"]


def test_money_of_a_tenant_that_never_asked_is_told(log: Log) -> None:
    both = ledger(acme=account(30, 50, ("r2",)), umbrella=account(1))

    assert rules(log, both) == ["ledger_differs"]


def test_money_held_for_an_ended_request_is_told_by_its_id(log: Log) -> None:
    violations = list(differences(log.view(), ledger(acme=account(30, 50, ("r1", "r2")))))

    assert [(v.rule, v.ids) for v in violations] == [("held_after_end", ("r1", "acme"))]


def test_a_refusal_at_the_door_of_a_request_that_was_let_in_on_the_next_reading_settles_nothing(log: Log) -> None:
    refused = finished("r3", outcome="refused", reason="overloaded", cost=0, attempts=(), submission="cd" * 16)
    log.write(refused, accepted("r3"), admitted("r3", reserved=90), started("r3"), ended("r3", cost=20), finished("r3", cost=20))
    same = account(50, 50, ("r2",))

    assert rules(log, ledger(acme=same)) == []
    assert log.view().requests["acme", "r3"].first.outcome == "refused"  # type: ignore[union-attr]


def test_a_reservation_the_ledger_forgot_is_told(log: Log) -> None:
    assert rules(log, ledger(acme=account(30, 50))) == ["not_held"]


def test_of_a_cut_list_of_open_requests_nothing_is_missing(log: Log) -> None:
    cut = {**account(30, 50), "open": 1}

    assert rules(log, ledger(acme=cut)) == []


def test_a_result_with_another_fingerprint_settles_nothing(log: Log) -> None:
    log.write(finished("r2", cost=0, fingerprint="cd" * 16, outcome="refused"))

    assert rules(log, ledger(acme=account(30, 50, ("r2",)))) == []


def test_sums_are_not_compared_where_the_log_has_no_beginning(log: Log) -> None:
    assert rules(log, ledger(acme=account(1030, 50, ("r2",))), whole=False) == []
