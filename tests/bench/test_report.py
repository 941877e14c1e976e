from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bench import proxy
from deploy.bench.plan import QUICK
from deploy.bench.quantiles import quantiles
from deploy.bench.questions import SCENARIOS
from deploy.bench.report import markdown
from deploy.bench.targets import largest_costs, targets


def run(per_s: float = 900.0, p50: float = 20.0, p99: float = 100.0) -> dict[str, Any]:
    return {
        "requests": 1,
        "per_s": per_s,
        "p50_ms": p50,
        "p99_ms": p99,
        "missing": 0,
        "answers": {"answered ok deployment": 1},
        "provider_p50_ms": 1.0,
        "steps_ms": {"ingest": {"queued": 1.0, "executing": 0.0}},
        "generator_cpu": 0.1,
        "cpu_ms": {"kafka": 0.5, "cache-0": 0.3, "ingest-0": 0.2, "milvus": 0.0},
    }


@pytest.fixture
def figures() -> dict[str, Any]:
    road = {scenario: run(p50=9.0) for scenario in SCENARIOS} | {"uncached": run(p50=14.0, p99=55.0)}
    return {
        "command": "make bench",
        "quick": False,
        "plan": asdict(QUICK),
        "skipped": {},
        "machine": {"cores": "2"},
        "floor": {"saturated": run(), "steady": run()},
        "litellm": {"version": "1", "at_once": 20, "many": run(75.0), "single": run(84.0), "provider_alone": run(9000.0)},
        "road": {scenario: {"saturated": one, "steady": one} for scenario, one in road.items()},
        "idle": {"cpu_share": {"cache-0": 0.01}, "services_cpu_share": 0.05},
        "memory": {"mib": {"cache-0": 100.0}, "services_mib": 700.0},
        "audit": {"clean": True, "violations": [], "counts": {"accepted": 3}, "seconds": 1.0, "notes": []},
    }


def test_a_target_is_met_at_its_very_bound(figures: dict[str, Any]) -> None:
    figures["litellm"]["many"]["per_s"] = 90.0
    figures["road"]["uncached"]["steady"] = run(p50=15.0, p99=60.0)
    figures["road"]["uncached"]["saturated"]["cpu_ms"] = {"kafka": 2.0, "mock-provider": 9.0}

    assert [target.met for target in targets(figures)] == [True] * 8


@pytest.mark.parametrize(
    ("path", "worse"),
    [
        (("road", "uncached", "saturated", "per_s"), 749.0),
        (("road", "uncached", "saturated", "cpu_ms"), {"kafka": 2.01}),
        (("road", "uncached", "steady", "p50_ms"), 15.1),
        (("road", "uncached", "steady", "p99_ms"), 60.1),
        (("road", "exact", "steady", "p50_ms"), 15.1),
        (("road", "semantic", "steady", "p50_ms"), 15.1),
        (("memory", "services_mib"), 1431.0),
        (("idle", "services_cpu_share"), 0.101),
    ],
)
def test_a_target_that_is_missed_is_said_to_be(figures: dict[str, Any], path: tuple[str, ...], worse: Any) -> None:
    place = figures
    for name in path[:-1]:
        place[name] = dict(place[name])
        place = place[name]
    place[path[-1]] = worse

    assert [target.met for target in targets(figures)].count(False) == 1
    assert markdown(figures).count("**NOT met**") == 1


def test_what_was_not_measured_is_not_met_and_not_missed(figures: dict[str, Any]) -> None:
    del figures["litellm"], figures["road"]
    figures["skipped"]["LiteLLM"] = "it could not be installed"

    assert [target.met for target in targets(figures)].count(None) == 6
    assert "**LiteLLM was skipped: it could not be installed**" in markdown(figures)


def test_the_largest_costs_are_named_with_their_share() -> None:
    assert largest_costs(run()) == [("kafka", 0.5, 0.5), ("cache-0", 0.3, 0.3), ("ingest-0", 0.2, 0.2)]


def test_a_quick_run_says_that_its_figures_mean_nothing(figures: dict[str, Any]) -> None:
    assert "mean nothing" in markdown({**figures, "quick": True})
    assert "mean nothing" not in markdown(figures)


def test_every_row_of_a_table_has_as_many_cells_as_its_head(figures: dict[str, Any]) -> None:
    for block in markdown(figures).split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({line.count("|") for line in rows}) <= 1, block


@given(st.lists(st.floats(0, 1e6), min_size=1))
def test_quantiles_are_values_that_were_measured(values: list[float]) -> None:
    found = quantiles(values)

    assert found["p50_ms"] <= found["p99_ms"] <= round(max(values), 2)
    assert found["p50_ms"] in {round(value, 2) for value in values}


def test_litellm_is_locked_by_version_and_hash_and_names_no_host() -> None:
    text = Path(proxy.LOCK).read_text()

    assert re.fullmatch(r"\d+\.\d+\.\d+", proxy.version())
    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ |file:", text)
    joined = text.replace("\\\n", " ")
    assert all("--hash=sha256:" in line for line in joined.splitlines() if line and not line.startswith("#"))
