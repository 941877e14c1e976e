"""`daytwo trends`"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import journal, show
from daytwo.cli.apply import current
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.money.history import History, period_end
from daytwo.money.trends import WEEKS, Forecast, Trend, about, forecast, week_so_far
from daytwo.records import Cap, TenantConfigured
from daytwo.topics import TENANT_CONFIGURED, USAGE_WINDOWED

BLOCKS = " ▁▂▃▄▅▆▇█"
BAR = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """`model` is empty for all models together."""

    tenant: str
    model: str
    trend: Trend


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A cap of a tenant, and when it is used up if the last four weeks go on; None: it lasts, or too little is known."""

    tenant: str
    cap: Cap
    used_nano: int
    forecast: Forecast | None


@click.command()
@click.option("--tenant", help="Only of this tenant, with a picture.")
@show.json_option
@click.pass_obj
def command(site: Site, tenant: str | None, as_json: bool) -> None:
    """This week against the last eight, by tenant and model, and when the caps of tenants will be used up.

    What counts are closed days in UTC: the days of this week so far, and the same days of the weeks before; on a Monday all of last
    week. Unusual is what is far from the median, measured by the median deviation: docs/money.md says how far, and how often it
    alarms for nothing. From usage-windowed, which Kafka keeps 92 days.
    """
    rows, budgets = site.run(_read(site.broker, site.clock.now_ms(), tenant))
    if as_json:
        trends = [{"tenant": row.tenant, "model": row.model, **asdict(row.trend)} for row in rows]
        show.document({"trends": trends, "budgets": [asdict(budget) for budget in budgets]})
        return
    _tell(rows)
    if tenant is not None:
        for row in rows:
            if not row.model:
                click.echo(picture(row), nl=False)
    if budgets:
        columns = ("tenant", "cap", "used", "used up", "between")
        show.table(columns, [_budget(budget) for budget in budgets], right=("used",))
    if not rows:
        show.note("no day in usage-windowed yet; it is there minutes after the first request: does usage-windows run? (`daytwo status`)")


async def _read(broker: Broker, now_ms: int, tenant: str | None) -> tuple[list[Row], list[Budget]]:
    history = History()
    async for record in journal.records(broker, USAGE_WINDOWED):
        if record.scope == "tenant" and tenant in (None, record.tenant):
            history.take(record)
    tenants = await current(broker, TENANT_CONFIGURED)
    rows = [Row(tenant=subject[0], model=model, trend=week_so_far(days, now_ms)) for (subject, model), days in sorted(history.days.items())]
    chosen = {name: row for name, row in tenants.items() if row is not None and tenant in (None, name)}
    return rows, list(_budgets(chosen, history, now_ms))


def _budgets(tenants: Mapping[str, TenantConfigured], history: History, now_ms: int) -> Iterator[Budget]:
    """The caps of tenants for a month or in total: a day is too short to forecast."""
    for name, tenant in sorted(tenants.items()):
        for cap in tenant.caps:
            if cap.scope == "tenant" and cap.period in ("month", "total"):
                subject = (name, "tenant", "")
                used_nano = history.used(subject, cap.period, now_ms).cost_nano
                ends_ms = period_end(cap.period, now_ms)
                found = forecast(history.of(subject), used_nano=used_nano, limit_nano=cap.limit_nano, now_ms=now_ms, ends_ms=ends_ms)
                yield Budget(tenant=name, cap=cap, used_nano=used_nano, forecast=found)


def _tell(rows: list[Row]) -> None:
    table = [
        (
            row.tenant,
            row.model or "all",
            sparks([*(week.cost_nano for week in row.trend.before), row.trend.this.cost_nano]),
            about(row.trend.this.cost_nano),
            about(row.trend.usual_nano) if row.trend.judgement != "too_short" else "",
            f"{about(row.trend.low_nano)} to {about(row.trend.high_nano)}" if row.trend.judgement != "too_short" else "",
            row.trend.judgement.replace("_", " "),
            row.trend.reason,
        )
        for row in rows
    ]
    if table:
        show.table(("tenant", "model", "weeks", "this week", "usual", "range", "", "why"), table, right=("this week", "usual"))


def sparks(values: list[int]) -> str:
    """A line of blocks, the highest value full."""
    most = max(values, default=0)
    return "".join(BLOCKS[-(-8 * value // most)] if most else BLOCKS[0] for value in values)


def picture(row: Row) -> str:
    """The weeks as bars, oldest first; the marks are the usual range."""
    trend = row.trend
    costs = [week.cost_nano for week in trend.before] + [trend.this.cost_nano]
    most = max([*costs, trend.usual_nano, 1])
    lines = [f"{row.tenant}, {row.model or 'all models'}: same days of each week"]
    for place, cost in enumerate(costs):
        ago = len(costs) - 1 - place
        name = "this week" if not ago else f"{ago} week{'s' if ago > 1 else ''} ago"
        lines.append(f"{name:>12} {_bar(cost, trend, most)} {about(cost)}")
    if trend.judgement != "too_short":
        judged = f"unusual below [ or above ]: {trend.judgement}. {trend.reason}"
        lines.append(f"{'':>12} usual {about(trend.usual_nano)}; {judged}".rstrip())
    return "\n".join([*lines, "", ""])


def _bar(cost_nano: int, trend: Trend, most: int) -> str:
    cells = ["█" if BAR * cost_nano >= (n + 0.5) * most else " " for n in range(BAR + 1)]
    if len(trend.before) <= WEEKS and trend.judgement != "too_short":
        for mark, value in (("[", trend.low_nano), ("]", trend.high_nano)):
            if value <= most:
                cells[round(BAR * value / most)] = mark
    return "".join(cells)


def _budget(budget: Budget) -> tuple[Any, ...]:
    found = budget.forecast
    cap = money_text(budget.cap.limit_nano) + (f" per {budget.cap.period}" if budget.cap.period != "total" else "")
    percent = f"{about(budget.used_nano)} ({100 * budget.used_nano // max(1, budget.cap.limit_nano)} %)"
    if found is None:
        reached = budget.used_nano >= budget.cap.limit_nano
        return budget.tenant, cap, percent, "now" if reached else "too little is known", ""
    between = f"{_day(found.earliest_ms)} and {_day(found.latest_ms)}" if found.earliest_ms is not None else ""
    return budget.tenant, cap, percent, _day(found.at_ms), between


def _day(ms: int | None) -> str:
    return "not in this period" if ms is None else show.at(ms)[:10]
