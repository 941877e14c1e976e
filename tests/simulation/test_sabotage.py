"""A guard that nobody has seen bite is no guard: each is taken away, and the simulation must notice within its normal seeds."""

from __future__ import annotations

import pytest

from tests.simulation.batches import in_children
from tests.simulation.run import SIMULATED_RULES
from tests.simulation.runs import Job, played
from tests.simulation.sabotage import SABOTAGES
from tests.simulation.test_simulation import SEEDS


@pytest.mark.parametrize("name", SABOTAGES)
def test_the_simulation_notices_within_its_seeds(name: str) -> None:
    rules = SABOTAGES[name]().rules

    found = next(
        (
            outcome.rules & rules
            for outcome, _ in in_children(played, [Job(seed, sabotage=name) for seed in range(SEEDS)])
            if outcome.rules & rules
        ),
        frozenset[str](),
    )

    assert found, f"{SEEDS} seeds broke none of {sorted(rules)}"


def test_there_are_enough_of_them() -> None:
    assert len(SABOTAGES) >= 12


def test_every_rule_of_the_simulation_alone_is_seen_to_bite() -> None:
    bitten = {rule for sabotage in SABOTAGES.values() for rule in sabotage().rules}

    assert set(SIMULATED_RULES) <= bitten
