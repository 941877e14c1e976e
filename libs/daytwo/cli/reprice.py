"""`daytwo reprice`"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import journal, show
from daytwo.cli.apply import checked, current
from daytwo.cli.options import MomentType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.money.attempts import Attempt
from daytwo.money.correcting import correction
from daytwo.money.repricing import Comparison, Repriced, Sum, compare, reprice
from daytwo.pricing import PriceBook
from daytwo.records import Lane
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, REQUEST_ACCEPTED


@click.command()
@click.option("--from", "from_ms", type=MomentType(), required=True, help="First moment: 2026-01-31 or 2026-01-31T12:00:00Z.")
@click.option("--to", "to_ms", type=MomentType(), help="Moment after the last; else now.")
@click.option(
    "--prices", "file", required=True, type=click.Path(path_type=Path), help="A daytwo.yaml; of it only `prices` counts. Not applied."
)
@click.option("--tenant", help="Only of this tenant.")
@click.option("--record", is_flag=True, help="Write the differences as corrections (cost-corrected).")
@show.json_option
@click.pass_obj
def command(site: Site, from_ms: int, to_ms: int | None, file: Path, tenant: str | None, record: bool, as_json: bool) -> None:
    """What the same traffic would have cost at the prices of FILE: from the log, by tenant and model.

    Prices that FILE does not name are those of genai-prices, at the moment of each attempt. Nothing is rewritten: --record adds
    corrections, which `daytwo usage` shows beside what was booked; a cap counts what was booked. The exit code is 1 where a
    model has no price.
    """
    source = journal.source_name(file)
    book = PriceBook.of(checked(file, site, as_json).records.get(PRICE_CONFIGURED.name, {}).values())  # type: ignore[arg-type]
    until_ms = site.clock.now_ms() if to_ms is None else to_ms
    repriced = site.run(_repriced(site.broker, book, from_ms, until_ms, tenant, source))
    found = compare(repriced)
    recorded = site.run(_record(site, repriced, source)) if record else 0
    if as_json:
        show.document(_document(found, from_ms, until_ms, recorded))
    else:
        _tell(found)
        if record:
            show.note(f"{recorded} corrections recorded as of {source}")
    if found.unpriced:
        show.note(f"no price for {', '.join(sorted(found.unpriced))}: what they cost is in neither sum")
        raise click.exceptions.Exit(1)


async def _repriced(broker: Broker, book: PriceBook, from_ms: int, to_ms: int, tenant: str | None, source: str) -> list[Repriced]:
    attempts = (await journal.journal(broker, since_ms=from_ms)).attempts()
    chosen = [a for a in attempts if from_ms <= a.at_ms < to_ms and tenant in (None, a.tenant)]
    providers = {name: row.provider for name, row in (await current(broker, DEPLOYMENT_CONFIGURED)).items() if row is not None}
    batch = await _batch(broker)

    def lane(attempt: Attempt) -> Lane:
        return "batch" if (attempt.tenant, attempt.request_id) in batch else "interactive"

    corrected = (await journal.corrections(broker)).by_attempt(without=source)
    return list(reprice(chosen, book, providers=providers, lane=lane, corrected=corrected))


async def _batch(broker: Broker) -> set[tuple[str, str]]:
    """Requests of the lane with the discounts."""
    accepted = journal.records(broker, REQUEST_ACCEPTED)
    return {(record.request.tenant, record.request.request_id) async for record in accepted if record.request.lane == "batch"}


async def _record(site: Site, repriced: Sequence[Repriced], source: str) -> int:
    corrected = [
        correction(each.attempt, each.delta_nano, reason="reprice", source=source, by=site.who, at_ms=site.clock.now_ms())
        for each in repriced
        if each.would_nano is not None
    ]
    if corrected:
        await journal.record(site.broker, corrected)
    return len(corrected)


def _tell(found: Comparison) -> None:
    columns = ("tenant", "model", "attempts", "was", "would be", "difference", "")
    rows: list[tuple[Any, ...]] = [(*key, *_row(each)) for key, each in sorted(found.sums.items())]
    show.table(columns, [*rows, ("total", "", *_row(found.total()))], right=columns[2:])
    if found.endless:
        show.note(f"{found.endless} attempts have no end on the log: they were booked in full, and are in neither sum")


def _row(each: Sum) -> tuple[Any, ...]:
    delta = each.would_nano - each.was_nano
    percent = f"{100 * delta / each.was_nano:+.1f} %" if each.was_nano else ""
    return each.attempts, money_text(each.was_nano), money_text(each.would_nano), money_text(delta), percent


def _document(found: Comparison, from_ms: int, to_ms: int, recorded: int) -> Mapping[str, Any]:
    rows = [{"tenant": tenant, "model": model, **asdict(each)} for (tenant, model), each in sorted(found.sums.items())]
    return {
        "from_ms": from_ms,
        "to_ms": to_ms,
        "groups": rows,
        "total": asdict(found.total()),
        "unpriced": sorted(found.unpriced),
        "endless": found.endless,
        "recorded": recorded,
    }
