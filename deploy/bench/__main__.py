"""`python -m deploy.bench`: measures everything in one run, and writes docs/benchmarks.json and docs/benchmarks.md."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daytwo.errors import DaytwoError
from deploy.bench import floor, machine, proxy, road
from deploy.bench.audit import audit
from deploy.bench.plan import QUICK, Plan
from deploy.bench.progress import say
from deploy.bench.questions import SCENARIOS, Scenario
from deploy.bench.report import markdown, verdicts
from deploy.bench.runs import LoadError
from deploy.bench.stack import PARTS, ROOT, SERVICES, Stack, fresh_stack
from deploy.bench.targets import targets
from deploy.local.settings import read_settings

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
    # A bench that is stopped takes its stack down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = QUICK if quick else Plan()
    figures: dict[str, Any] = {
        "command": " ".join(["make bench"] if sys.argv[1:] == [] else ["python -m deploy.bench", *sys.argv[1:]]),
        "quick": quick,
        "plan": asdict(plan),
        "skipped": {},
        "machine": machine.describe(read_settings(os.environ, ROOT, Path(sys.executable)).cache),
    }
    try:
        with fresh_stack(state.resolve()) as stack:
            _measure(stack, plan, wanted, figures)
        stack.clean()
    except (LoadError, road.RoadError, DaytwoError, subprocess.CalledProcessError) as error:
        say(f"stopped: {error} (logs: {state / 'logs'})")
        sys.exit(1)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "benchmarks.md").write_text(markdown(figures))
    for line in verdicts(targets(figures)):
        say(line)
    say(f"written: {folder / 'benchmarks.md'}")


def _wanted(only: str) -> list[str]:
    names = {name.strip() for name in only.split(",")}
    if "cached" in names:
        names = names - {"cached"} | {"exact", "semantic"}
    if unknown := sorted(names - set(ALL)):
        raise click.UsageError(f"--only {', '.join(unknown)} is none of {', '.join(ALL)}, cached")
    return [name for name in ALL if name in names]


def _measure(stack: Stack, plan: Plan, wanted: list[str], figures: dict[str, Any]) -> None:
    say("starting Kafka, Redis, Milvus and the mock provider")
    where = stack.up(*PARTS)
    if "floor" in wanted:
        figures["floor"] = floor.measure(where["kafka"], where["mock_provider"], stack.pids(), plan)
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
    road.rehearse(where["kafka"], plan)
    figures["road"] = {scenario: road.measure(scenario, where["kafka"], pids, plan) for scenario in scenarios}
    figures["memory"] = road.memory(pids)
    figures["audit"] = audit(stack)
    if restarted := sorted(name for name, pid in stack.pids().items() if pids.get(name) != pid):
        raise road.RoadError(f"{', '.join(restarted)} died and was started anew while it was measured")


if __name__ == "__main__":
    main()
