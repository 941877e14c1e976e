"""`make chaos SEED=7 SECONDS=300`"""

from __future__ import annotations

import asyncio
import json
import logging
import platform
import random
import signal
import sys
from pathlib import Path

import click

from deploy.local.errors import SetupError
from tests.chaos import plan as plans
from tests.chaos.report import story
from tests.chaos.run import Run, run
from tests.chaos.sabotage import SABOTAGES
from tests.chaos.site import site
from tests.stack import STATE


@click.command(context_settings={"show_default": True})
@click.option("--seed", default=1, help="Makes the plan and the load.")
@click.option("--seconds", default=300.0, help="Length of the plan.")
@click.option("--plan", "plan_file", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="This plan instead of the seed's.")
@click.option("--only", default="", help="Only these kinds of faults, comma-separated.")
@click.option("--sabotage", default="", type=click.Choice(["", *SABOTAGES]), help="Break a promise on purpose: the run must tell.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Writes what was found as JSON.")
@click.option("--state", default=Path(f"{STATE}-chaos"), type=click.Path(path_type=Path), help="State folder of the system under fault.")
def main(seed: int, seconds: float, plan_file: Path | None, only: str, sabotage: str, report: Path | None, state: Path) -> None:
    """Starts the whole system, loads it, hurts it, and checks that nothing is lost, doubled or silent. Exit code 1: something is."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # that Kafka is away is no news here
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background of a shell the first is ignored
        signal.signal(number, signal.default_int_handler)
    kinds = [name.strip() for name in only.split(",") if name.strip()] or list(plans.KINDS)
    steps = plans.read(plan_file) if plan_file else plans.plan(seed, seconds, kinds)
    click.echo(f"the plan of {plan_file or f'seed {seed}'}; give it back with --plan:\n{plans.written(steps)}")
    try:
        found = asyncio.run(_run(state, steps, seed, sabotage))
    except SetupError as error:
        sys.exit(f"daytwo: {error}")
    for line in story(found):
        click.echo(line)
    if report is not None:
        origin = {"seed": seed, "seconds": seconds, "sabotage": sabotage, "python": platform.python_version()}
        report.write_text(json.dumps({**origin, **found.as_json()}, indent=2) + "\n")
    click.echo(f"chaos: {len(found.outcomes)} faults, {'every promise kept' if found.verdict.clean else 'PROMISES BROKEN'}")
    sys.exit(0 if found.verdict.clean else 1)


async def _run(state: Path, steps: list[plans.Step], seed: int, sabotage: str) -> Run:
    async with site(state, sabotage=sabotage) as here:
        return await run(here, steps, random.Random(seed), click.echo)


if __name__ == "__main__":
    main()
