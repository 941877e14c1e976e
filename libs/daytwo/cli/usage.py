"""`daytwo usage`"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from daytwo.cli import show
from daytwo.cli.log import results
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.records import RequestFinished

FIELDS = ("tenant", "user", "session", "workflow", "agent", "model", "deployment", "served_by")


@dataclass(slots=True, kw_only=True)
class Sum:
    """What was used. Money is in nano-dollars."""

    requests: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    from_cache: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_nano: int = 0
    saved_nano: int = 0

    def add(self, result: RequestFinished) -> None:
        self.requests += 1
        self.outcomes[result.outcome] = self.outcomes.get(result.outcome, 0) + 1
        self.from_cache += result.served_by == "cache"
        self.input_tokens += result.usage.input_tokens
        self.output_tokens += result.usage.output_tokens
        self.cost_nano += result.cost_nano
        self.saved_nano += result.saved_nano


@click.command()
@click.option("--by", default="tenant", show_default=True, help=f"One or more of: {', '.join(FIELDS)}; with commas between.")
@click.option("--since", "since_ms", type=DurationType(), help="Of the last 15m, 24h, 7d, ...; else all that Kafka keeps.")
@click.option("--tenant", help="Only of this tenant.")
@show.json_option
@click.pass_obj
def command(site: Site, by: str, since_ms: int | None, tenant: str | None, as_json: bool) -> None:
    """Requests, how they ended, tokens, and money spent and saved. Each request counts once, by its first result."""
    fields = tuple(name.strip() for name in by.split(","))
    if unknown := [name for name in fields if name not in FIELDS]:
        raise click.UsageError(f"--by {', '.join(unknown)} is none of {', '.join(FIELDS)}")
    start_ms = None if since_ms is None else site.clock.now_ms() - since_ms
    sums = site.run(_sums(results(site.broker, since_ms=start_ms), fields, tenant))
    total = sums.pop(())
    if as_json:
        groups = [{**dict(zip(fields, key, strict=True)), **asdict(group)} for key, group in sorted(sums.items())]
        show.document({"since_ms": start_ms, "groups": groups, "total": asdict(total)})
        return
    columns = (*fields, "requests", "ended", "cached", "tokens in", "tokens out", "cost", "saved")
    rows: list[Any] = [(*key, *_row(group)) for key, group in sorted(sums.items())]
    rows.append(("total", *("" for _ in fields[1:]), *_row(total)))
    show.table(columns, rows, right=("requests", "cached", "tokens in", "tokens out", "cost", "saved"))


async def _sums(stream: AsyncIterator[RequestFinished], fields: tuple[str, ...], tenant: str | None) -> dict[tuple[str, ...], Sum]:
    """By the values of `fields`; under () the sum of all."""
    sums: dict[tuple[str, ...], Sum] = defaultdict(Sum)
    total = sums[()]
    async for result in stream:
        if tenant in (None, result.tenant):
            sums[tuple(getattr(result, name) for name in fields)].add(result)
            total.add(result)
    return sums


def _row(group: Sum) -> tuple[Any, ...]:
    ended = ", ".join(f"{count} {outcome}" for outcome, count in sorted(group.outcomes.items()))
    money = (money_text(group.cost_nano), money_text(group.saved_nano))
    return (group.requests, ended, group.from_cache, group.input_tokens, group.output_tokens, *money)
