"""`make bench-sessions`: ten thousand sessions, a real arrival shape, a burst, the knee, and overload. Writes docs/benchmarks-sessions.md.

`python -m deploy.bench.sessions --help` lists the settings. It says how it goes every few seconds; Ctrl-C ends it, and takes the
stack down.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import click

from daytwo.errors import DaytwoError
from deploy.bench import machine, road, sessions_runs
from deploy.bench.audit import audit
from deploy.bench.progress import say
from deploy.bench.report import verdicts
from deploy.bench.runs import LoadError
from deploy.bench.sessions_plan import PARTS, QUICK, Plan
from deploy.bench.sessions_report import markdown, targets
from deploy.bench.sessions_runs import Bench
from deploy.bench.stack import PARTS as STACK_PARTS
from deploy.bench.stack import ROOT, SERVICES, Stack, fresh_stack
from deploy.local.settings import read_settings


@click.command()
@click.option("--quick", is_flag=True, help="Few sessions for a short time, to see that the bench works; figures mean nothing.")
@click.option("--only", default=",".join(PARTS), show_default=True, help="What to measure, with commas between.")
@click.option("--sessions", type=click.IntRange(1, 1_000_000), envvar="SESSIONS", show_envvar=True, help="Sessions open at once.")
@click.option("--seconds", type=click.FloatRange(5), envvar="SECONDS", show_envvar=True, help="How long the sessions ask.")
@click.option("--kill", envvar="KILL", show_envvar=True, help="Service that is killed in the middle; empty: none.")
@click.option("--trace", type=click.Path(path_type=Path), envvar="TRACE", show_envvar=True, help="File of the arrival shape.")
@click.option("--first-per-s", type=click.FloatRange(1), help="Rate at which the search for the knee begins.")
@click.option("--knee-per-s", type=click.FloatRange(1), help="The knee, where overload is measured without looking for it.")
@click.option("--knee-p99-ms", type=click.FloatRange(1), help="Added latency (p99) up to which a rate is held.")
@click.option("--to", "folder", type=click.Path(path_type=Path), default=ROOT / "docs", help="Folder of what is written; docs as it comes.")
@click.option("--state", type=click.Path(path_type=Path), default=ROOT / ".daytwo-bench-sessions", help="State folder; emptied.")
def main(quick: bool, only: str, folder: Path, state: Path, **settings: Any) -> None:
    """Measure what the whole road does for ten thousand open sessions, and what it does when that is too much."""
    # A bench that is stopped takes its stack down.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    plan = replace(QUICK if quick else Plan(), **{name: value for name, value in settings.items() if value is not None})
    parts = _wanted(only)
    figures: dict[str, Any] = {
        "command": " ".join(["make bench-sessions"] if not sys.argv[1:] else ["python -m deploy.bench.sessions", *sys.argv[1:]]),
        "quick": quick,
        "plan": {**asdict(plan), "trace": plan.trace.name},
        "skipped": {},
        "machine": machine.describe(read_settings(os.environ, ROOT, Path(sys.executable)).cache),
    }
    began = time.monotonic()
    stopped = _measured(plan, parts, state.resolve(), figures)
    figures["minutes"] = round((time.monotonic() - began) / 60, 1)
    say(f"all together {figures['minutes']} minutes")
    write(figures, folder)
    if stopped:
        say(f"stopped: {stopped} (logs: {state / 'logs'}); what was measured before is written")
        sys.exit(1)


def _wanted(only: str) -> list[str]:
    names = {name.strip() for name in only.split(",")}
    if unknown := sorted(names - set(PARTS)):
        raise click.UsageError(f"--only {', '.join(unknown)} is none of {', '.join(PARTS)}")
    return [name for name in PARTS if name in names]


AUDIT_S: Final = 120.0
"""About how long the audit takes."""


def _measured(plan: Plan, parts: list[str], state: Path, figures: dict[str, Any]) -> str:
    """Measures into `figures`; returns why it was stopped, if it was."""
    try:
        with fresh_stack(state) as stack:
            _measure(stack, plan, parts, figures)
        stack.clean()
    except KeyboardInterrupt:
        return "by hand"
    except (LoadError, road.RoadError, DaytwoError, OSError) as error:
        return str(error)
    return ""


def _measure(stack: Stack, plan: Plan, parts: list[str], figures: dict[str, Any]) -> None:
    say("starting Kafka, Redis, Milvus, the mock provider and our services")
    where = stack.up(*STACK_PARTS, *SERVICES)
    sessions_runs.configure(where["kafka"], where["mock_provider"], plan)
    bench = Bench(stack, where, plan)
    bench.rehearse()
    for number, part in enumerate(parts):
        left_s = sum(map(plan.takes_s, parts[number:])) + AUDIT_S
        say(f"[{number + 1}/{len(parts)}] {part}: about {plan.takes_s(part) / 60:.0f} of the {left_s / 60:.0f} minutes that are left")
        try:
            figures[part] = getattr(bench, part)()
        except sessions_runs.SkippedError as error:
            figures["skipped"][part] = str(error)
            say(f"{part.upper()} IS SKIPPED: {error}")
    say("reading the whole log: the audit")
    figures["audit"] = audit(stack)


def write(figures: dict[str, Any], folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "benchmarks-sessions.json").write_text(json.dumps(figures, indent=2) + "\n")
    (folder / "benchmarks-sessions.md").write_text(markdown(figures))
    for line in verdicts(targets(figures)):
        say(line)
    say(f"written: {folder / 'benchmarks-sessions.md'}")


if __name__ == "__main__":
    main()
