"""The simulation's share of `make test`. More of it: `make simulate SEEDS=10000`, `make simulate CRASHES=1`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.simulation.batches import in_children
from tests.simulation.crashes import POINTS, crash_points, crashed
from tests.simulation.run import Outcome, run
from tests.simulation.runs import Job, broken_by, played, told
from tests.simulation.scenario import scenario
from tests.simulation.shrink import shrunk

SEEDS = 500
STRIDE = 11
"""Every so manieth crash point here; all of them take a minute: `make simulate CRASHES=1`."""


def failures(jobs: Sequence[Job]) -> list[str]:
    outcomes = [outcome for outcome, _ in in_children(played, jobs)]
    return [f"{job.command()}: {_rules(outcome)}" for job, outcome in zip(jobs, outcomes, strict=True) if outcome.violations]


def _rules(outcome: Outcome) -> str:
    return ", ".join(sorted(outcome.rules))


def test_five_hundred_seeds_break_no_promise() -> None:
    assert failures([Job(seed) for seed in range(SEEDS)]) == []


def test_a_crash_at_any_point_of_any_road_breaks_no_promise() -> None:
    points = crash_points()[::STRIDE]

    outcomes = list(in_children(crashed, points, per_child=50))

    assert [f"{point}: {_rules(outcome)}" for point, outcome in zip(points, outcomes, strict=True) if outcome.violations] == []
    assert {point.road for point in points} == set(POINTS)
    assert len(points) > 200


def hash_of(seed: int) -> str:
    return run(scenario(seed)).hash


def test_a_seed_replays_bit_for_bit_in_an_interpreter_with_another_hash_seed() -> None:
    seeds = list(range(40))
    here = list(in_children(hash_of, seeds))
    code = f"import os; from tests.simulation.test_simulation import hash_of; print([hash_of(s) for s in {seeds}], flush=True); os._exit(0)"

    there = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "4711"}, capture_output=True, text=True, check=True, timeout=120
    )

    assert there.stdout.strip() == str(here)
    assert len(set(here)) == len(seeds)


def test_a_failing_seed_shrinks_to_what_it_takes_and_tells_how_it_happened() -> None:
    job = next(
        job
        for job, (outcome, _) in zip(SABOTAGED, in_children(played, SABOTAGED), strict=True)
        if "below_bill" in outcome.rules and len(job.scenario().asks) > 3
    )

    small = shrunk(job.scenario(), broken_by(job), frozenset({"below_bill"}))

    assert len(small.asks) < len(job.scenario().asks)
    assert len(small.faults) <= len(job.scenario().faults)
    smaller = Job(job.seed, tuple(a.number for a in small.asks), tuple(f.number for f in small.faults), not small.replicas, job.sabotage)
    (outcome,) = in_children(told, [smaller])
    assert "below_bill" in outcome.rules
    assert any("attempt-started" in line for line in outcome.story)
    assert str(job.seed) in smaller.command()


SABOTAGED = [Job(seed, sabotage="an unknown outcome costs nothing") for seed in range(100)]


@pytest.mark.parametrize("seed", [3])
def test_the_printed_command_plays_the_same_run_again(seed: int) -> None:
    command = [sys.executable, *Job(seed).command().split()[1:]]

    first, second = (subprocess.run(command, capture_output=True, text=True, check=False, timeout=120) for _ in range(2))

    assert first.stdout == second.stdout
    assert f"again: {Job(seed).command()}" in first.stdout
