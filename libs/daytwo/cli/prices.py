"""`daytwo prices`"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import click

from daytwo.broker import Broker
from daytwo.cli import show
from daytwo.cli.apply import current
from daytwo.cli.log import results
from daytwo.cli.options import DurationType
from daytwo.cli.site import Site
from daytwo.config_file.units import money_text
from daytwo.pricing import Price, PriceBook
from daytwo.records import DeploymentConfigured
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, TENANT_CONFIGURED


@click.group()
def command() -> None:
    """What the models cost, and which have no price.

    A price is that of `prices` in daytwo.yaml, else that of the package genai-prices, at the moment of admission. A model without
    one is refused, never free; a tenant may set a bound for such models (`unpriced`), which is then reserved and booked.
    """


@command.command("list")
@show.json_option
@click.pass_obj
def list_prices(site: Site, as_json: bool) -> None:
    """What each deployment costs now, and where that is from."""
    deployments, book, _ = site.run(_configured(site.broker))
    priced = [(row, book.price(row.provider, row.model, site.clock.now_ms())) for row in deployments]
    if as_json:
        show.document([{"deployment": row.deployment, "model": row.model, "price": show.plain(price)} for row, price in priced])
        return
    columns = ("deployment", "model", "input", "cached", "output", "reasoning", "call", "batch", "from")
    show.table(columns, [(row.deployment, f"{row.provider}/{row.model}", *_row(price)) for row, price in priced], right=columns[2:8])
    show.note("dollars per 1M tokens, and per call")


@command.command()
@click.option("--since", "since_ms", type=DurationType(), help="Refusals of the last 24h, 7d, ...; else all that Kafka keeps.")
@show.json_option
@click.pass_obj
def missing(site: Site, since_ms: int | None, as_json: bool) -> None:
    """Deployments without a price, and how many requests were refused for it. The exit code is 1 where there are any."""
    found, refused, bounds = site.run(_missing(site, since_ms))
    if as_json:
        told = [{"tenant": tenant, **show.plain(each)} for tenant, each in sorted(refused.items())]
        unpriced = [{"deployment": row.deployment, "provider": row.provider, "model": row.model, "active": row.active} for row in found]
        show.document({"deployments": unpriced, "refused": told, "bounded_tenants": bounds})
    else:
        _tell_missing(found, refused, bounds)
    if found:
        raise click.exceptions.Exit(1)


@dataclass(slots=True)
class Refused:
    """Requests a tenant had refused, as no model that serves them has a price."""

    requests: int = 0
    last_ms: int = 0
    details: set[str] = field(default_factory=set)


async def _configured(broker: Broker) -> tuple[list[DeploymentConfigured], PriceBook, list[str]]:
    """Deployments, prices, and the tenants that set a bound for what has none."""
    deployments = [row for row in (await current(broker, DEPLOYMENT_CONFIGURED)).values() if row is not None]
    book = PriceBook.of(row for row in (await current(broker, PRICE_CONFIGURED)).values() if row is not None)
    tenants = [row for row in (await current(broker, TENANT_CONFIGURED)).values() if row is not None]
    return deployments, book, sorted(row.tenant for row in tenants if row.unpriced_bound is not None)


async def _missing(site: Site, since_ms: int | None) -> tuple[list[DeploymentConfigured], dict[str, Refused], list[str]]:
    deployments, book, bounds = await _configured(site.broker)
    now_ms = site.clock.now_ms()
    refused: dict[str, Refused] = defaultdict(Refused)
    async for result in results(site.broker, since_ms=None if since_ms is None else now_ms - since_ms):
        if result.reason == "unpriced_model":
            each = refused[result.tenant]
            each.requests += 1
            each.last_ms = max(each.last_ms, result.finished_at_ms)
            each.details.add(result.detail)
    return [row for row in deployments if book.price(row.provider, row.model, now_ms) is None], refused, bounds


def _tell_missing(found: list[DeploymentConfigured], refused: dict[str, Refused], bounds: list[str]) -> None:
    if found:
        show.table(("deployment", "provider", "model"), [(row.deployment, row.provider, row.model) for row in found])
    if refused:
        rows = [(tenant, each.requests, show.at(each.last_ms), "; ".join(sorted(each.details))) for tenant, each in sorted(refused.items())]
        show.table(("tenant", "refused", "last", "why"), rows, right=("refused",))
    if bounds:
        show.note(f"these tenants pay at most their bound instead of being refused: {', '.join(bounds)}")
    show.note("add them to `prices` in daytwo.yaml" if found else "every deployment has a price")


def _row(price: Price | None) -> tuple[Any, ...]:
    if price is None:
        return ("", "", "", "", "", "", "no price: refused")
    reasoning = price.output_nano_per_mtok if price.reasoning_nano_per_mtok is None else price.reasoning_nano_per_mtok
    per_mtok = (price.input_nano_per_mtok, price.cached_input_nano_per_mtok, price.output_nano_per_mtok, reasoning)
    discount = f"-{price.batch_discount_permille / 10:g} %" if price.batch_discount_permille else ""
    return (*map(money_text, per_mtok), money_text(price.request_nano), discount, price.source)
