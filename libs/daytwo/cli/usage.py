"""`daytwo usage`"""

from __future__ import annotations

import csv
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import journal, show
from daytwo.cli.log import bookings
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.money.history import newest
from daytwo.money.weeks import WIDTHS, start_of
from daytwo.records import RequestFinished, UsageWindowed
from daytwo.topics import USAGE_WINDOWED

FIELDS = ("tenant", "user", "session", "workflow", "agent", "step", "model", "deployment", "served_by")
LATE = "late"
"""Instead of a bucket: what came so late that usage-windows summed it apart."""
SCOPES = ("user", "session", "workflow", "agent")
SAVED_AGAINST = "saved: what the cached answers had cost when they were bought; to buy them again might cost more or less"


@dataclass(slots=True, kw_only=True)
class Sum:
    """What was used. Money is in nano-dollars; `corrected_nano` is to be added to the cost (`daytwo reprice`, `reconcile`)."""

    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    from_cache: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    cost_nano: int = 0
    late_nano: int = 0
    """Of the cost: attempts that only a later result of a request that had ended lists."""
    corrected_nano: int = 0
    saved_nano: int = 0

    def add_late(self, late_nano: int) -> None:
        self.cost_nano += late_nano
        self.late_nano += late_nano

    def add(self, result: RequestFinished, corrected_nano: int) -> None:
        self.requests += 1
        self.outcomes[result.outcome] = self.outcomes.get(result.outcome, 0) + 1
        self.from_cache += result.served_by == "cache"
        self.input_tokens += result.usage.input_tokens
        self.output_tokens += result.usage.output_tokens
        self.reasoning_tokens += result.usage.reasoning_tokens
        self.cost_nano += result.cost_nano
        self.corrected_nano += corrected_nano
        self.saved_nano += result.saved_nano

    def add_bucket(self, bucket: UsageWindowed) -> None:
        self.requests += bucket.requests
        if bucket.refused:
            self.outcomes["refused"] = self.outcomes.get("refused", 0) + bucket.refused
        self.from_cache += bucket.cached
        self.input_tokens += bucket.usage.input_tokens
        self.output_tokens += bucket.usage.output_tokens
        self.reasoning_tokens += bucket.usage.reasoning_tokens
        self.cost_nano += bucket.cost_nano
        self.saved_nano += bucket.saved_nano


Key = tuple[str, ...]
"""The values of the fields; before them the beginning of the bucket, where there are buckets."""


@click.command()
@click.option("--by", default="tenant", show_default=True, help=f"One or more of: {', '.join(FIELDS)}; with commas between.")
@click.option("--every", type=click.Choice(list(WIDTHS)), help="A row for each hour, day or week (from Monday) in UTC, by when it ended.")
@click.option("--since", "since_ms", type=DurationType(), help="Of the last 15m, 24h, 7d, ...; else all that Kafka keeps.")
@click.option("--tenant", help="Only of this tenant.")
@click.option(
    "--history",
    is_flag=True,
    help="From usage-windowed, kept 92 days: --by tenant, model and one of user, session, workflow, agent.",
)
@click.option("--csv", "as_csv", is_flag=True, help="CSV for spreadsheets; money in nano-dollars.")
@show.json_option
@click.pass_obj
def command(
    site: Site, by: str, every: str | None, since_ms: int | None, tenant: str | None, history: bool, as_csv: bool, as_json: bool
) -> None:
    """Requests, how they ended, tokens, and money spent and saved. Each request counts once, by its first result.

    What is saved is what the cached answers had cost when they were bought. What `daytwo reprice` and `reconcile` recorded stands
    beside the cost that was booked, as corrected. Kafka keeps requests for a week; what was before is there with --history, without
    how requests ended and without corrections.
    """
    fields = tuple(name.strip() for name in by.split(","))
    if unknown := [name for name in fields if name not in FIELDS]:
        raise click.UsageError(f"--by {', '.join(unknown)} is none of {', '.join(FIELDS)}")
    if as_csv and as_json:
        raise click.UsageError("--csv or --json, not both")
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    if history:
        sums = site.run(_history(site.broker, start_ms or 0, fields, every or "day", tenant))
        every = every or "day"
    else:
        sums = site.run(_sums(site.broker, start_ms, fields, every, tenant))
    total = sums.pop(())
    columns = (*((every,) if every else ()), *fields)
    if as_json:
        groups = [{**dict(zip(columns, key, strict=True)), **asdict(group)} for key, group in sorted(sums.items())]
        show.document({"since_ms": start_ms, "groups": groups, "total": asdict(total), "saved_against": SAVED_AGAINST})
    elif as_csv:
        _csv(columns, sums)
    else:
        _tell(columns, sums, total)


async def _sums(broker: Broker, since_ms: int | None, fields: Sequence[str], every: str | None, tenant: str | None) -> dict[Key, Sum]:
    """By bucket and the values of `fields`; under () the sum of all."""
    corrected = await _corrected(broker)
    sums: dict[Key, Sum] = defaultdict(Sum)
    total = sums[()]
    stream: AsyncIterator[tuple[RequestFinished, int]] = bookings(broker, since_ms=since_ms)
    async for result, late_nano in stream:
        if tenant in (None, result.tenant):
            bucket = (show.at(start_of(every, result.finished_at_ms)),) if every else ()
            delta_nano = corrected.get((result.tenant, result.request_id), 0)
            for group in (sums[(*bucket, *(getattr(result, name) for name in fields))], total):
                if late_nano:
                    group.add_late(late_nano)
                else:
                    group.add(result, delta_nano)
    return sums


async def _history(broker: Broker, since_ms: int, fields: Sequence[str], every: str, tenant: str | None) -> dict[Key, Sum]:
    """The same from the buckets of usage-windowed; of each bucket the newest record."""
    scopes = [name for name in fields if name in SCOPES]
    if len(scopes) > 1 or set(fields) - {"tenant", "model", *SCOPES}:
        raise click.UsageError("--history sums up --by tenant, model and one of user, session, workflow, agent")
    scope = scopes[0] if scopes else "tenant"
    latest: dict[str, UsageWindowed] = {}
    async for record in journal.records(broker, USAGE_WINDOWED):
        fits = (record.scope, record.width, bool(record.model)) == (scope, every, "model" in fields)
        if fits and record.start_ms >= since_ms and tenant in (None, record.tenant):
            key = USAGE_WINDOWED.key(record)
            latest[key] = newest(latest.get(key), record)
    sums: dict[Key, Sum] = defaultdict(Sum)
    total = sums[()]
    for record in latest.values():
        values = {"tenant": record.tenant, "model": record.model, scope: record.tenant if scope == "tenant" else record.subject}
        bucket = show.at(record.start_ms) if record.start_ms else LATE
        for group in (sums[(bucket, *(values[name] for name in fields))], total):
            group.add_bucket(record)
    return sums


async def _corrected(broker: Broker) -> Mapping[tuple[str, str], int]:
    """Nano-dollars to be added, by tenant and request."""
    found: dict[tuple[str, str], int] = defaultdict(int)
    for record in (await journal.corrections(broker)).all():
        found[record.tenant, record.request_id] += record.delta_nano
    return found


def _csv(columns: Sequence[str], sums: Mapping[Key, Sum]) -> None:
    numbers = [name for name in asdict(Sum()) if name != "outcomes"]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow([*columns, *numbers])
    for key, group in sorted(sums.items()):
        writer.writerow([*map(_cell, key), *(getattr(group, name) for name in numbers)])


def _cell(text: str) -> str:
    """A spreadsheet takes a cell that begins so for a formula, and names of users come from outside."""
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _tell(columns: Sequence[str], sums: Mapping[Key, Sum], total: Sum) -> None:
    numbers = ["requests", "ended", "cached", "tokens in", "tokens out", "cost", "corrected", "saved"]
    if not total.corrected_nano:
        numbers.remove("corrected")
    rows: list[Any] = [(*key, *_row(group, numbers)) for key, group in sorted(sums.items())]
    rows.append(("total", *("" for _ in columns[1:]), *_row(total, numbers)))
    show.table((*columns, *numbers), rows, right=[name for name in numbers if name != "ended"])
    if total.saved_nano:
        show.note(SAVED_AGAINST)


def _row(group: Sum, numbers: Sequence[str]) -> list[Any]:
    ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(group.outcomes.items()))
    cells = {
        "requests": group.requests,
        "ended": ended,
        "cached": group.from_cache,
        "tokens in": group.input_tokens,
        "tokens out": group.output_tokens,
        "cost": money_text(group.cost_nano),
        "corrected": money_text(group.corrected_nano),
        "saved": money_text(group.saved_nano),
    }
    return [cells[name] for name in numbers]
