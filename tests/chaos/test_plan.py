"""A plan follows from its seed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.faults import FAULTS
from tests.chaos.plan import KINDS, plan, read, written


def test_the_same_seed_makes_the_same_plan_and_another_one_another() -> None:
    assert plan(7, 300) == plan(7, 300)
    assert plan(7, 300) != plan(8, 300)


def test_every_kind_has_its_turn_before_any_comes_again() -> None:
    steps = plan(3, 1000)

    assert {step.fault for step in steps[: len(KINDS)]} == set(KINDS)
    assert len(steps) > len(KINDS)


def test_a_plan_fits_into_its_time_and_its_steps_follow_each_other() -> None:
    steps = plan(5, 120)

    assert [step.at_s for step in steps] == sorted(step.at_s for step in steps)
    assert steps[-1].at_s + steps[-1].lasts_s <= 120


def test_a_written_plan_can_be_given_back(tmp_path: Path) -> None:
    steps = plan(5, 300)
    (tmp_path / "plan.json").write_text(written(steps))

    assert read(tmp_path / "plan.json") == steps


def test_a_plan_with_an_unknown_fault_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text('[{"at_s": 1, "fault": "flood", "targets": ["kafka"]}]')

    with pytest.raises(ValueError, match="flood"):
        read(tmp_path / "plan.json")


def test_every_planned_fault_can_be_made() -> None:
    assert KINDS.keys() == FAULTS.keys()
