"""What single values cannot show: names that lead nowhere (problems), and what is allowed but hardly meant (warnings)."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from daytwo.config_file.models import File, Price, Tenant
from daytwo.config_file.problems import Path

Finding = tuple[Path, str]

MILLION = 1_000_000
DEAR = Decimal(1000)
CHEAP = Decimal("0.001")
SHORT_SECRET = 16


def dangling(file: File) -> Iterator[Finding]:
    """What must not be applied."""
    served = {name for name, deployment in file.deployments.items() for name in (name, deployment.model, *deployment.aliases)}
    for name, tenant in file.tenants.items():
        yield from _tenant(("tenants", name), tenant)
        if "deployments" in file.model_fields_set:
            yield from _models(("tenants", name, "models"), tenant, served)
    for index, price in enumerate(file.prices):
        if _per_million(price, max(price.input, price.output, price.cached_input or Decimal(0))) > MILLION:
            yield ("prices", index), "more than $1,000,000 per 1M tokens is surely not meant: what is it `per`?"


def _tenant(path: Path, tenant: Tenant) -> Iterator[Finding]:
    for key, times in Counter(key.id for key in tenant.keys).items():
        if times > 1:
            yield (*path, "keys"), f"the key id {key} is given {times} times"
    for (scope, period), times in Counter((cap.scope, cap.period) for cap in tenant.caps).items():
        if times > 1:
            yield (*path, "caps"), f"{times} caps of {scope} and {period}: which one holds?"
    if tenant.default_timeout > tenant.max_timeout:
        yield (*path, "default_timeout"), "longer than max_timeout"


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
        if not tenant.caps:
            yield ("tenants", name), "has no cap: what it may spend is not limited"
    for index, price in enumerate(file.prices):
        yield from _price(("prices", index), price)


def _price(path: Path, price: Price) -> Iterator[Finding]:
    for name, amount in (("input", price.input), ("output", price.output)):
        in_dollars = _per_million(price, amount)
        if in_dollars > DEAR or 0 < in_dollars < CHEAP:
            yield (*path, name), f"${in_dollars.normalize():f} per 1M tokens is unusual: what is it `per`?"
    if price.output < price.input:
        yield (*path, "output"), "cheaper than input, which is unusual"
    if price.cached_input is not None and price.cached_input > price.input:
        yield (*path, "cached_input"), "dearer than input, which is unusual"


def _per_million(price: Price, amount: Decimal) -> Decimal:
    return amount * MILLION / price.per
