"""The bench of the sessions: its verdicts, its page, and a short run of it on real parts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from deploy.bench.sessions_load import Load, Order
from deploy.bench.sessions_plan import PARTS, QUICK, Plan
from deploy.bench.sessions_report import first_to_give_way, markdown, targets
from tests.stack import ROOT


def quantiles(p50: float = 20.0, p99: float = 200.0) -> dict[str, float]:
    return {"p50_ms": p50, "p99_ms": p99}


def bucket(number: int, **fields: Any) -> dict[str, Any]:
    shown = {
        "begins_s": number * 60,
        "length_s": 60,
        "judged": True,
        "asked": 9,
        "answered": 9,
        "in_time": 9,
        "done": 9,
        "ends": {},
        "added": quantiles(),
    }
    return {**shown, **fields}


def run(**fields: Any) -> dict[str, Any]:
    steps = {"queued_p50_ms": 1.0, "queued_p99_ms": 5.0, "executing_p50_ms": 1.0, "executing_p99_ms": 2.0}
    found = {
        "asked": 27,
        "answered": 27,
        "ends": {},
        "missing": 0,
        "repeats": 0,
        "most_open": 27,
        "generator_cpu": 0.1,
        "late": quantiles(1.0, 5.0),
        "killed": {},
        "judged": {
            "asked": 27,
            "answered": 27,
            "in_time": 27,
            "seconds": 180,
            "retry_hints": 0,
            "done": 27,
            "added": quantiles(),
            "refused": quantiles(),
        },
        "buckets": [bucket(number) for number in range(3)],
        "memory": [{"at_s": 60 * number, "services_mib": 900.0, "mib": {}} for number in range(9)],
        "steps": {"ingest": steps, "inference-router": {**steps, "queued_p99_ms": 700.0}},
        "cpu_share": {"kafka": 0.5, "ingest-0": 0.2},
    }
    return {**found, **fields}


def figures(**fields: Any) -> dict[str, Any]:
    step = {"offered_per_s": 400.0, "holds": True, **run()}
    overload = {"offered_per_s": 800.0, "goodput_per_s": 320.0, "knee_goodput_per_s": 400.0, **run()}
    found = {
        "command": "make bench-sessions",
        "quick": False,
        "plan": {**{name: getattr(Plan(), name) for name in Plan.__dataclass_fields__}, "trace": "trace.csv"},
        "skipped": {},
        "machine": {"cores": "2"},
        "sessions": run(killed={"service": "cache-0", "at_s": 70.0}),
        "trace": run(),
        "burst": run(),
        "knee": {"knee_per_s": 400.0, "reached": True, "steps": [step, {**step, "holds": False}]},
        "overload": overload,
        "audit": {"clean": True, "violations": [], "counts": {"accepted": 3}, "seconds": 1.0},
    }
    return {**found, **fields}


def test_all_that_is_reached_is_said_to_be_met() -> None:
    assert {target.what for target in targets(figures()) if not target.met} == set()
    assert "cache-0 killed" in markdown(figures())


@pytest.mark.parametrize(
    ("worse", "what"),
    [
        ({"judged": {**run()["judged"], "added": quantiles(p50=50.1)}}, "10000 sessions, added latency, p50"),
        ({"judged": {**run()["judged"], "added": quantiles(p99=500.1)}}, "10000 sessions, added latency, p99"),
        ({"buckets": [bucket(0), bucket(1, added=quantiles(p50=41.0))]}, "flat over time"),
        ({"buckets": [bucket(0), bucket(1, added=quantiles(p99=801.0))]}, "flat over time"),
        ({"memory": [{"at_s": 0, "services_mib": 3000.0, "mib": {}}]}, "memory of our services"),
        ({"memory": [{"at_s": at, "services_mib": 100.0 * at, "mib": {}} for at in range(12)]}, "memory does not grow"),
        ({"missing": 1, "answered": 26}, "sessions: nothing lost, one result each"),
        (
            {"answered": 26, "ends": {"failed internal_error": 1}, "killed": {"service": "cache-0", "at_s": 70.0}},
            "cache-0 killed (-9) after 70 s",
        ),
    ],
)
def test_what_is_missed_by_the_sessions_is_said_to_be(worse: dict[str, Any], what: str) -> None:
    missed = [target.what for target in targets(figures(sessions=run(**worse))) if target.met is False]

    assert missed == [what]


def test_what_piled_up_before_a_killed_service_is_no_growth_and_what_goes_on_growing_after_it_is() -> None:
    def grown(a_minute_mib: float) -> bool | None:
        mib = [500.0] * 5 + [640.0 + a_minute_mib * n for n in range(6)]
        memory = [{"at_s": 60.0 * n, "services_mib": each, "mib": {}} for n, each in enumerate(mib)]
        found = figures(sessions=run(memory=memory, killed={"service": "cache-0", "at_s": 290.0}))
        return next(target.met for target in targets(found) if target.what == "memory does not grow")

    assert (grown(2.0), grown(25.0)) == (True, False)


@pytest.mark.parametrize(("killed_s", "judged"), [(-1.0, [1, 2, 3, 4, 5, 6]), (300.0, [1, 2, 3]), (190.0, [1, 5, 6])])
def test_the_stretch_of_a_kill_and_those_beside_it_are_not_judged(killed_s: float, judged: list[int]) -> None:
    order = Order(bootstrap="", run="000000", tenant="t", sessions=1, seconds=420, warm_s=60, disturbed_s=killed_s, median_ms=1, p99_ms=2)

    assert [number for number in range(7) if Load(order)._is_judged(number)] == judged


def test_the_processor_time_of_a_request_is_told_minute_by_minute() -> None:
    memory = [{"at_s": 20.0 * n, "services_mib": 500, "mib": {}, "cpu_s": {"ingest-0": 0.3 * n, "cache-0": 0.6 * n}} for n in range(10)]

    page = markdown(figures(sessions=run(memory=memory, buckets=[bucket(number, done=900) for number in range(3)])))

    assert "| 60 | 9 | 9 | - | 20.0 / 200.0 | 3.00 | 500 |" in page


def test_the_whole_of_the_bench_takes_less_than_35_minutes() -> None:
    assert sum(map(Plan().takes_s, PARTS)) < 32 * 60


def test_less_than_four_fifths_of_the_knees_goodput_is_a_collapse() -> None:
    found = figures()
    found["overload"]["goodput_per_s"] = 319.0

    assert [target.what for target in targets(found) if target.met is False] == ["goodput at twice the knee"]


def test_goodput_at_twice_a_rate_that_is_not_the_knee_proves_nothing() -> None:
    knee = {"knee_per_s": 400.0, "reached": False, "steps": [{"offered_per_s": 400.0, "holds": True, **run()}]}

    assert [target.what for target in targets(figures(knee=knee)) if target.met is None] == ["goodput at twice the knee"]
    assert "**No rate broke" in markdown(figures(knee=knee))


def test_what_was_not_measured_is_neither_met_nor_missed_and_what_was_skipped_is_said_loudly() -> None:
    found = {name: value for name, value in figures().items() if name not in PARTS} | {"skipped": {"trace": "no such file"}}

    assert {target.met for target in targets(found) if target.what != "audit of the whole log"} == {None}
    assert "**trace was skipped: no such file**" in markdown(found)


def test_the_service_that_is_waited_for_longest_gives_way_first() -> None:
    assert first_to_give_way(run()).startswith("inference-router")


def test_the_mean_rate_of_the_sessions_follows_from_think_time_and_latency() -> None:
    # median 2 s, p99 15 s: mean 2.91 s
    assert Plan().session_per_s == pytest.approx(10_000 / 22.91, rel=0.01)
    assert QUICK.sessions == 300


@pytest.mark.stack
@pytest.mark.system
def test_a_short_run_measures_sessions_that_do_not_notice_a_killed_router(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "deploy.bench.sessions", "--quick", "--only", "sessions,burst", "--to", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("DAYTWO_")}

    subprocess.run([*command, "--state", str(ROOT / ".daytwo-test-sessions")], check=True, cwd=ROOT, env=env, timeout=170)

    found = json.loads((tmp_path / "benchmarks-sessions.json").read_text())
    sessions, burst = found["sessions"], found["burst"]
    assert sessions["killed"]["service"] == "inference-router-0"
    assert sessions["asked"] == sessions["answered"] > 300
    assert burst["asked"] == burst["answered"] == burst["most_open"] == 300
    assert sessions["missing"] == burst["missing"] == 0
    assert found["audit"]["clean"]
    assert "no session sees an error" in (tmp_path / "benchmarks-sessions.md").read_text()
