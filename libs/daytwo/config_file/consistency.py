"""What single values cannot show: names that lead nowhere (problems), and what is allowed but hardly meant (warnings)."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from daytwo.charging import machine_nano_per_mtok
from daytwo.config_file.models import File, Price, Tenant
from daytwo.config_file.problems import Path
from daytwo.config_file.units import NANO

Finding = tuple[Path, str]

MILLION = 1_000_000
DEAR = Decimal(1000)
CHEAP = Decimal("0.001")
SHORT_SECRET = 16
LARGEST = 2**53 - 1


def dangling(file: File) -> Iterator[Finding]:
    """What must not be applied."""
    served = {name for name, deployment in file.deployments.items() for name in (name, deployment.model, *deployment.aliases)}
    for name, tenant in file.tenants.items():
        yield from _tenant(("tenants", name), tenant)
        if "deployments" in file.model_fields_set:
            yield from _models(("tenants", name, "models"), tenant, served)
            if tenant.cheaper_route is not None and tenant.cheaper_route not in served:
                yield ("tenants", name, "cheaper_route"), f"no deployment serves {tenant.cheaper_route}"
    for index, price in enumerate(file.prices):
        yield from _wrong_price(("prices", index), price)


def _tenant(path: Path, tenant: Tenant) -> Iterator[Finding]:
    for key, times in Counter(key.id for key in tenant.keys).items():
        if times > 1:
            yield (*path, "keys"), f"the key id {key} is given {times} times"
    yield from _caps((*path, "caps"), tenant)
    yield from _rate_limits((*path, "rate_limits"), tenant)
    if "cheaper_route" in tenant.at_limit and tenant.cheaper_route is None:
        yield (*path, "at_limit"), "names cheaper_route, but the tenant has none: add cheaper_route: NAME"
    if "refuse" in tenant.at_limit[:-1]:
        yield (*path, "at_limit"), "nothing is tried after refuse"
    if tenant.default_timeout > tenant.max_timeout:
        yield (*path, "default_timeout"), "longer than max_timeout"


def _caps(path: Path, tenant: Tenant) -> Iterator[Finding]:
    for (unit, scope, subject, period), times in Counter((c.limit.unit, c.scope, c.subject, c.period) for c in tenant.caps).items():
        if times > 1:
            yield path, f"{times} caps of {unit} of {scope} {subject}{' per ' + period if period else ''}: which one holds?"
    for index, cap in enumerate(tenant.caps):
        yield from _subject((*path, index, "subject"), cap.scope, cap.subject)
        if cap.limit.unit == "requests":
            yield (*path, index, "limit"), "requests per time are a rate limit (rate_limits); a cap is of money, tokens or open requests"
        elif cap.limit.value > LARGEST:
            yield (*path, index, "limit"), "more than $9,007,199 is surely not meant, and more than the ledger counts exactly"
        elif cap.limit.unit == "open requests" and cap.period:
            yield (*path, index, "period"), "open requests have no period: they count while they are open"
        elif cap.limit.unit != "open requests" and not cap.period:
            yield (*path, index), "period is missing: expected hour, day, month or total"


def _rate_limits(path: Path, tenant: Tenant) -> Iterator[Finding]:
    for (unit, scope, subject, per), times in Counter((r.limit.unit, r.scope, r.subject, r.per) for r in tenant.rate_limits).items():
        if times > 1:
            yield path, f"{times} limits of {unit} per {per} of {scope} {subject}: which one holds?"
    for index, rate in enumerate(tenant.rate_limits):
        yield from _subject((*path, index, "subject"), rate.scope, rate.subject)
        if rate.limit.unit not in ("requests", "tokens"):
            yield (*path, index, "limit"), "a rate limit is of requests or tokens; money and open requests are caps (caps)"
        elif rate.limit.unit == "requests" and rate.per == "day":
            yield (*path, index, "per"), "requests are limited per minute, tokens per minute or day"
        if rate.burst is not None and rate.burst.unit != rate.limit.unit:
            yield (*path, index, "burst"), f"is of {rate.burst.unit}, the limit of {rate.limit.unit}"


def _subject(path: Path, scope: str, subject: str) -> Iterator[Finding]:
    if scope == "tenant" and subject != "*":
        yield path, "the scope tenant has no subject: the tenant is the one this is written under"


def _wrong_price(path: Path, price: Price) -> Iterator[Finding]:
    given = [amount for amount in (price.input, price.output, price.cached_input, price.reasoning) if amount is not None]
    if given and _per_million(price, max(given)) > MILLION:
        yield path, "more than $1,000,000 per 1M tokens is surely not meant: what is it `per`?"
    if bool(price.machine_hour) != bool(price.throughput):
        yield path, "machine_hour and throughput make a price together: give both or none"
    elif not price.machine_hour:
        for name, amount in (("input", price.input), ("output", price.output)):
            if amount is None:
                yield (*path, name), "is missing: expected an amount in US dollars, such as $5.00; or give machine_hour and throughput"
    elif given:
        yield path, "has a price per token and one by the machine's hour: which one holds?"


def _models(path: Path, tenant: Tenant, served: set[str]) -> Iterator[Finding]:
    for index, model in enumerate(tenant.models):
        if model not in served:
            close = difflib.get_close_matches(model, sorted(served), n=1)
            yield (*path, index), f"no deployment serves {model}" + (f"; did you mean {close[0]}?" if close else "")


def doubtful(file: File) -> Iterator[Finding]:
    """What may be applied, but should be looked at."""
    for name, tenant in file.tenants.items():
        for index, key in enumerate(tenant.keys):
            if len(key.secret) < SHORT_SECRET:
                yield ("tenants", name, "keys", index, "secret"), f"shorter than {SHORT_SECRET} characters"
        if not any(cap.limit.unit == "money" for cap in tenant.caps):
            yield ("tenants", name), "has no cap: what it may spend is not limited"
        yield from _zero(("tenants", name), tenant)
    for index, price in enumerate(file.prices):
        yield from _price(("prices", index), price)


def _zero(path: Path, tenant: Tenant) -> Iterator[Finding]:
    for index, cap in enumerate(tenant.caps):
        if cap.limit.value == 0:
            yield (*path, "caps", index), "a cap of nothing: only cached answers are given"
    for index, rate in enumerate(tenant.rate_limits):
        if rate.limit.value == 0:
            yield (*path, "rate_limits", index), "a limit of nothing: only cached answers are given"


def _price(path: Path, price: Price) -> Iterator[Finding]:
    if price.machine_hour and price.throughput:
        yield from _unusual((*path, "throughput"), Decimal(machine_nano_per_mtok(price.machine_hour, price.throughput)) / NANO)
    if price.input is None or price.output is None:
        return
    for name, amount in (("input", price.input), ("output", price.output)):
        yield from _unusual((*path, name), _per_million(price, amount))
    if price.output < price.input:
        yield (*path, "output"), "cheaper than input, which is unusual"
    if price.cached_input is not None and price.cached_input > price.input:
        yield (*path, "cached_input"), "dearer than input, which is unusual"


def _unusual(path: Path, in_dollars: Decimal) -> Iterator[Finding]:
    if in_dollars > DEAR or 0 < in_dollars < CHEAP:
        hint = "is it tokens a second?" if path[-1] == "throughput" else "what is it `per`?"
        yield path, f"${in_dollars.normalize():f} per 1M tokens is unusual: {hint}"


def _per_million(price: Price, amount: Decimal) -> Decimal:
    return amount * MILLION / price.per
