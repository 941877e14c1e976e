"""The fuzzers' targets in a plain test: their seeds, what went wrong before, and what Hypothesis and the mutator think of."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.mutation import mutate
from tests.fuzz.targets import TARGETS, Target

REGRESSIONS: Final = sorted(path for path in (Path(__file__).parent / "regressions").glob("*/*") if path.is_file())


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """A warning for every dead letter would be all that is seen."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def inputs(target: Target) -> st.SearchStrategy[bytes]:
    """Seeds damaged from a number that replays them, and bytes of Hypothesis' own."""
    seeds = list(target.seeds())
    damaged = st.builds(lambda seed, number: mutate(seed, Random(number), seeds), st.sampled_from(seeds), st.integers(0, 2**32))
    return st.one_of(damaged, damaged, damaged, st.binary(max_size=300))


@pytest.mark.parametrize("name", TARGETS)
def test_valid_inputs_do_no_harm(name: str) -> None:
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_did_harm_once_does_none_any_more(path: Path) -> None:
    TARGETS[path.parent.name].run(path.read_bytes())


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_inputs_do_no_harm(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=target.examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(inputs(target))
    def does_no_harm(data: bytes) -> None:
        target.run(data)

    does_no_harm()
