"""`python -m deploy.bench.trends [--data FOLDER]`: how often the trends alarm on real traffic.

Two questions, on the arrivals of ServeGen's clients (two weeks) and on Azure's conversation trace (one hour):

1. False alarms: weeks of seven days each are drawn, with replacement, from the days of one client. Nothing has changed between
   them, so every alarm is false. Of Azure, whose trace is an hour long, minutes stand for days.
2. As it came: each day of a client against the eight days before it. Weekends and real changes are in it, so not every alarm is false.

The data is not part of daytwo; where it is missing, this says so and stops.
"""

from __future__ import annotations

import csv
import gzip
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from random import Random

import click

from daytwo.money.trends import WEEKS, Totals, judge

DAY_S = 86_400
WINDOW_S = 600
NANO_PER_TOKEN = 1_000
"""A dollar for a million tokens."""
TOKENS_A_REQUEST = 1_000
"""ServeGen's arrivals have no tokens; what matters here is how they change."""
DRAWS = 200
LEAST_DAYS = 7


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("../shared/data"), show_default=True, help="Folder of the traces.")
@click.option("--seed", default=1, show_default=True)
def main(data: Path, seed: int) -> None:
    """Measure the false-alarm rate of the trends on real traffic."""
    pools = [data / "servegen" / f"{pool}_arrivals.csv.gz" for pool in ("m-small", "m-mid")]
    azure = data / "azure_llm_trace_2023" / "AzureLLMInferenceTrace_conv.csv"
    if missing := [str(path) for path in (*pools, azure) if not path.exists()]:
        sys.exit(f"not measured: {', '.join(missing)} is not there")
    for path in pools:
        clients = servegen(path)
        name = path.name.partition("_")[0]
        tell(f"ServeGen {name}: {len(clients)} clients, weeks drawn from their days", drawn(clients.values(), Random(seed)))
        tell(f"ServeGen {name}: each day against the eight before", as_it_came(clients.values()))
    tell("Azure conversations: weeks drawn from minutes", drawn([azure_minutes(azure)], Random(seed), draws=20_000))


def tell(what: str, alarms: Iterable[bool]) -> None:
    found = list(alarms)
    share = 100 * sum(found) / len(found) if found else 0.0
    click.echo(f"{what}: {sum(found)} alarms of {len(found)} ({share:.2f} %)")


def servegen(path: Path) -> Mapping[str, list[Totals]]:
    """Days by client, of those that were there on at least seven of them."""
    requests: dict[str, dict[int, float]] = defaultdict(lambda: defaultdict(float))
    with gzip.open(path, "rt") as file:
        for row in csv.DictReader(file):
            requests[row["client"]][int(row["window_start_s"]) // DAY_S] += float(row["rate_rps"]) * WINDOW_S
    return {
        client: [_day(days.get(day, 0.0)) for day in range(max(days) + 1)] for client, days in requests.items() if len(days) >= LEAST_DAYS
    }


def _day(requests: float) -> Totals:
    count = round(requests)
    return Totals(count, count * TOKENS_A_REQUEST, count * TOKENS_A_REQUEST * NANO_PER_TOKEN)


def azure_minutes(path: Path) -> list[Totals]:
    minutes: dict[int, Totals] = defaultdict(Totals)
    with path.open() as file:
        for row in csv.DictReader(file):
            minute = int(datetime.fromisoformat(f"{row['TIMESTAMP'][:19]}+00:00").timestamp()) // 60
            tokens = int(row["ContextTokens"]) + int(row["GeneratedTokens"])
            minutes[minute] += Totals(1, tokens, tokens * NANO_PER_TOKEN * 1_000)
    return [minutes[minute] for minute in range(min(minutes) + 1, max(minutes))]


def drawn(clients: Iterable[Sequence[Totals]], rng: Random, draws: int = DRAWS) -> Iterator[bool]:
    """Nine weeks of days of the same client; the last is judged."""
    for days in clients:
        for _ in range(draws):
            weeks = [sum(rng.choices(days, k=7), Totals()) for _ in range(WEEKS + 1)]
            yield judge(weeks[-1], weeks[:-1]).anomaly


def as_it_came(clients: Iterable[Sequence[Totals]]) -> Iterator[bool]:
    for days in clients:
        for at in range(WEEKS, len(days)):
            yield judge(days[at], days[at - WEEKS : at]).anomaly


if __name__ == "__main__":
    main()
