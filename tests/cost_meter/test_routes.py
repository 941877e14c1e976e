from __future__ import annotations

import pytest

from daytwo.routes import candidates
from tests.cost_meter.builders import deployment


@pytest.mark.parametrize("wanted", ["mock-a", "mock-1", "small"])
def test_a_deployment_serves_its_name_its_model_and_its_aliases(wanted: str) -> None:
    assert candidates(wanted, [deployment()]) == [deployment()]


def test_what_is_inactive_or_serves_something_else_is_left_out() -> None:
    assert candidates("small", [deployment(active=False), deployment(aliases=("smal", "smaller"))]) == []


def test_routes_are_in_order_of_priority_then_name() -> None:
    routes = [deployment(deployment=name, priority=priority) for name, priority in (("c", 0), ("a", 1), ("b", 0))]

    assert [route.deployment for route in candidates("small", routes)] == ["b", "c", "a"]
