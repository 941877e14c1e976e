"""`python -m deploy.bench`: measures everything in one run, and writes docs/benchmarks.json and docs/benchmarks.md."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from daytwo.audit import audit
from daytwo.clock import SystemClock
from daytwo.errors import DaytwoError
from daytwo.kafka import KafkaBroker

from deploy.bench import floor, machine, proxy, road
from deploy.bench.plan import QUICK, Plan
from deploy.bench.progress import say
from deploy.bench.questions import SCENARIOS, Scenario
from deploy.bench.report import markdown, verdicts
from deploy.bench.runs import LoadError
from deploy.bench.stack import PARTS, ROOT, SERVICES, Stack, fresh_stack
from deploy.bench.targets import targets

ALL = ("floor", "litellm", *SCENARIOS)


@click.command()
@click.option("--quick", is_flag=True, help="Short runs, to see that the bench works; figures mean nothing.")
@click.option(
    "--only", default=",".join(ALL), show_default=True, help="What to measure, with commas between; cached is exact and semantic."
)
@click.option("--to", "folder", type=click.Path(path_type=Path), default=ROOT / "docs", help="Folder of what is written; docs as it comes.")
@click.option("--state", type=click.Path(path_type=Path), default=ROOT / ".daytwo-bench", help="State folder of the stack; emptied.")
def main(quick: bool, only: str, folder: Path, state: Path) -> None:
    """Measure the bare floor, LiteLLM's proxy and the whole road on this machine."""
    wanted = _wanted(only)
    plan = QUICK if quick else Plan()
    figures: dict[str, Any] = {
        "command": " ".join(["make bench"] if sys.argv[1:] == [] else ["python -m deploy.bench", *sys.argv[1:]]),
        "quick": quick,
        "plan": asdict(plan),
        "skipped": {},
        "machine": machine.describe(ROOT / ".daytwo-cache"),
    }
    try:
        with fresh_stack(state.resolve()) as stack:
            _measure(stack, plan, wanted, figures)
    except (LoadError, road.RoadError, DaytwoError, subprocess.CalledProcessError) as error:
        say(f"stopped: {error} (logs: {state / 'logs'})")
        sys.exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "benchmarks.md").write_text(markdown(figures))
    shutil.rmtree(state, ignore_errors=True)
    for line in verdicts(targets(figures)):
        say(line)
    say(f"written: {folder / 'benchmarks.md'}")


def _wanted(only: str) -> list[str]:
    names = [name.strip() for name in only.replace("cached", "exact,semantic").replace("unexact", "uncached,exact").split(",")]
    if unknown := sorted(set(names) - set(ALL)):
        raise click.UsageError(f"--only {', '.join(unknown)} is none of {', '.join(ALL)}, cached")
    return [name for name in ALL if name in names]


def _measure(stack: Stack, plan: Plan, wanted: list[str], figures: dict[str, Any]) -> None:
    say("starting Kafka, Redis, Milvus and the mock provider")
    where = stack.up(*PARTS)
    if "floor" in wanted:
        figures["floor"] = floor.measure(where["kafka"], plan)
    if "litellm" in wanted:
        try:
            figures["litellm"] = proxy.measure(where["mock_provider"], stack.state, plan)
        except proxy.SkippedError as error:
            figures["skipped"]["LiteLLM"] = str(error)
            say(f"LITELLM IS SKIPPED: {error}")
    scenarios = [scenario for scenario in SCENARIOS if scenario in wanted]
    if scenarios:
        _measure_road(stack, plan, scenarios, figures)


def _measure_road(stack: Stack, plan: Plan, scenarios: list[Scenario], figures: dict[str, Any]) -> None:
    say("starting our services")
    where = stack.up(*PARTS, *SERVICES)
    pids = stack.pids()
    road.configure(where["kafka"], where["mock_provider"])
    figures["idle"] = road.idle(pids, plan)
    figures["road"] = {scenario: road.measure(scenario, where["kafka"], pids, plan) for scenario in scenarios}
    figures["memory"] = road.memory(pids)
    figures["audit"] = asyncio.run(_audit(where["kafka"]))
    if restarted := sorted(name for name, pid in stack.pids().items() if pids.get(name) != pid):
        raise road.RoadError(f"{', '.join(restarted)} died and was started anew while it was measured")


async def _audit(bootstrap: str) -> dict[str, Any]:
    """Whether all that was measured was also done right."""
    say("auditing the log")
    started = time.monotonic()
    reader = KafkaBroker(bootstrap).reader()
    await reader.start()
    try:
        report = await audit(reader, SystemClock(), ledger=None, settle_s=10.0)
    finally:
        await reader.stop()
    found = report.as_json()
    say(f"  {report.counts['accepted']} requests, {len(report.violations)} violations")
    return {**found, "violations": found["violations"][:20], "seconds": round(time.monotonic() - started, 1)}


if __name__ == "__main__":
    main()
