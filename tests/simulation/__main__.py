"""`make simulate SEEDS=10000`, `make simulate SEED=123`, `make simulate CRASHES=1`."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence

import click

from daytwo.audit import RULES
from tests.simulation.batches import in_children
from tests.simulation.crashes import POINTS, crash_points, crashed
from tests.simulation.run import SIMULATED_RULES, Outcome
from tests.simulation.runs import Job, broken_by, played, told
from tests.simulation.sabotage import SABOTAGES
from tests.simulation.shrink import shrunk

PROMISES = {**RULES, **SIMULATED_RULES}


def _numbers(context: click.Context, parameter: click.Parameter, text: str | None) -> tuple[int, ...] | None:
    return None if text is None else tuple(int(part) for part in text.split(",") if part)


@click.command()
@click.option("--seeds", default=1000, show_default=True, help="So many seeds.")
@click.option("--first", default=0, show_default=True, help="The first of them.")
@click.option("--seed", type=int, help="One seed, with its story.")
@click.option("--asks", callback=_numbers, help="Of that seed only these requests: 0,2.")
@click.option("--faults", callback=_numbers, help="Of that seed only these faults: 1; empty: none.")
@click.option("--alone", is_flag=True, help="Of that seed, one replica of each service.")
@click.option("--sabotage", type=click.Choice(sorted(SABOTAGES)), help="With this done to the services.")
@click.option("--crashes", is_flag=True, help="Every crash point of the road, instead of seeds.")
@click.option("--stride", default=1, show_default=True, help="Every so manieth crash point.")
def main(
    seeds: int,
    first: int,
    seed: int | None,
    asks: tuple[int, ...] | None,
    faults: tuple[int, ...] | None,
    alone: bool,
    sabotage: str | None,
    crashes: bool,
    stride: int,
) -> None:
    """Runs daytwo in memory, in virtual time, from seeds. Exits with 1 where a promise is broken, after a story of how."""
    if crashes:
        sys.exit(_crashes(stride))
    if seed is not None:
        sys.exit(_story(Job(seed, asks, faults, alone, sabotage)))
    sys.exit(_seeds([Job(each, sabotage=sabotage) for each in range(first, first + seeds)]))


def _seeds(jobs: Sequence[Job]) -> int:
    began, failed, handles, processor_s = time.monotonic(), [], 0, 0.0
    for job, (outcome, seconds) in zip(jobs, in_children(played, jobs), strict=True):
        handles += outcome.handles
        processor_s += seconds
        if outcome.violations:
            failed.append((job, outcome))
            click.echo(f"seed {job.seed}: {', '.join(sorted(outcome.rules))}")
    wall_s = time.monotonic() - began
    click.echo(
        f"{len(jobs)} seeds, {len(failed)} failed; {len(jobs) / wall_s:.0f} a second, "
        f"{len(jobs) / processor_s:.0f} a second of one processor; {handles / len(jobs):.0f} handles each"
    )
    if failed:
        _explain(*failed[0])
    return 1 if failed else 0


def _explain(job: Job, outcome: Outcome) -> None:
    """The smallest scenario that breaks the same rule, as a story."""
    small = shrunk(job.scenario(), broken_by(job), outcome.rules)
    smaller = Job(job.seed, tuple(a.number for a in small.asks), tuple(f.number for f in small.faults), not small.replicas, job.sabotage)
    _story(smaller)


def _story(job: Job) -> int:
    (outcome,) = in_children(told, [job])
    chosen = job.scenario()
    click.echo(
        f"\nseed {job.seed}: {len(chosen.asks)} requests, {len(chosen.faults)} faults, replicas {dict(chosen.replicas) or 'one each'}"
    )
    for fault in chosen.faults:
        click.echo(f"  fault {fault.number}: {fault}")
    click.echo("\n".join(outcome.story))
    _tell(outcome)
    click.echo(f"again: {job.command()}\nlog {outcome.hash[:16]}, {outcome.handles} handles, {outcome.seconds:.1f} s of virtual time")
    return 1 if outcome.violations else 0


def _tell(outcome: Outcome) -> None:
    for violation in outcome.violations:
        click.echo(f"BROKEN {violation.rule} ({PROMISES[violation.rule]}): {' '.join(violation.ids)}: {violation.detail}")


def _crashes(stride: int) -> int:
    points = crash_points()
    chosen = points[::stride]
    failed = 0
    for point, outcome in zip(chosen, in_children(crashed, chosen, per_child=50), strict=True):
        if outcome.violations:
            failed += 1
            click.echo(f"{point}: {', '.join(sorted(outcome.rules))}")
    of_road = _counts(point.road for point in points)
    click.echo(f"{len(chosen)} of {len(points)} crash points run, {failed} failed")
    click.echo(", ".join(f"{road} {of_road[road]}" for road in POINTS))
    return 1 if failed else 0


def _counts(names: Iterable[str]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name in names:
        found[name] = found.get(name, 0) + 1
    return found


if __name__ == "__main__":
    main()
