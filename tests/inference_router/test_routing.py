"""The order of deployments and the choice of the next."""

from __future__ import annotations

from collections import Counter
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from services.inference_router.routing import Condition, choose, order
from tests.inference_router.builders import deployment

NAMES = ["a", "b", "c", "d"]
FREE = Condition(ready_in_s=0, full=False, tries=0)


def test_lower_priority_numbers_come_first_whatever_the_weights() -> None:
    rows = [deployment("a", priority=2, weight=100), deployment("b", priority=0), deployment("c", priority=1, weight=9)]
    assert [row.deployment for row in order(rows, NAMES, Random(1))] == ["b", "c", "a"]


def test_what_is_inactive_or_has_no_quote_is_left_out() -> None:
    rows = [deployment("a", active=False), deployment("b"), deployment("c")]
    assert [row.deployment for row in order(rows, ["a", "b"], Random(1))] == ["b"]


def test_within_a_tier_a_deployment_is_first_as_often_as_its_weight_says() -> None:
    rows = [deployment("a", weight=1), deployment("b", weight=3)]
    rng = Random(5)
    first = Counter(order(rows, NAMES, rng)[0].deployment for _ in range(4000))
    assert 0.72 < first["b"] / 4000 < 0.78


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 50)), max_size=8), st.integers())
def test_every_deployment_appears_once_and_tiers_never_mix(tiers: list[tuple[int, int]], seed: int) -> None:
    rows = [deployment(str(n), priority=priority, weight=weight) for n, (priority, weight) in enumerate(tiers)]
    ordered = order(rows, [row.deployment for row in rows], Random(seed))
    assert sorted(row.deployment for row in ordered) == sorted(row.deployment for row in rows)
    assert [row.priority for row in ordered] == sorted(row.priority for row in rows)


def chosen(**conditions: Condition) -> tuple[str, float] | None:
    found = choose([deployment(name) for name in conditions], lambda row: conditions[row.deployment])
    return None if found is None else (found.deployment.deployment, found.wait_s)


def test_the_first_that_is_free_is_chosen() -> None:
    assert chosen(a=FREE, b=FREE) == ("a", 0)


def test_a_shut_door_is_skipped() -> None:
    assert chosen(a=Condition(ready_in_s=5, full=False, tries=0), b=FREE) == ("b", 0)


def test_a_full_deployment_is_skipped_unless_nothing_else_is_there() -> None:
    full = Condition(ready_in_s=0, full=True, tries=0)
    assert chosen(a=full, b=FREE) == ("b", 0)
    assert chosen(a=full, b=Condition(ready_in_s=5, full=False, tries=0)) == ("a", 0)


def test_one_that_was_not_tried_goes_before_one_that_was() -> None:
    assert chosen(a=Condition(ready_in_s=0, full=False, tries=1), b=FREE) == ("b", 0)


def test_where_all_are_shut_the_one_that_opens_soonest_is_waited_for() -> None:
    assert chosen(a=Condition(ready_in_s=5, full=False, tries=0), b=Condition(ready_in_s=2, full=True, tries=3)) == ("b", 2)


def test_nothing_is_chosen_from_nothing() -> None:
    assert chosen() is None
