"""From the text of a file to records, or to all that is wrong with it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path as FilePath
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from daytwo.charging import machine_nano_per_mtok
from daytwo.config_file.consistency import dangling, doubtful
from daytwo.config_file.located_yaml import Located, read_yaml
from daytwo.config_file.models import Deployment, File, Price, Tenant, Unpriced
from daytwo.config_file.problems import ConfigError, Path, Problem
from daytwo.config_file.units import nano, nano_ceiling
from daytwo.records import (
    CachePolicy,
    Cap,
    ConcurrencyCap,
    DeploymentConfigured,
    PriceBound,
    PriceConfigured,
    RateLimit,
    SigningKey,
    TenantConfigured,
    TokenCap,
)
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED, TENANT_CONFIGURED

Configured = TenantConfigured | DeploymentConfigured | PriceConfigured

MILLION = 1_000_000
LARGEST_FILE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What a file says: by topic, the records by key; only of the sections that are there. `warnings` keep nobody from applying it."""

    records: Mapping[str, Mapping[str, Configured]]
    warnings: tuple[Problem, ...] = ()


def load(path: FilePath, env: Mapping[str, str]) -> Config:
    """Raises ConfigError, also for a file that cannot be read."""
    name = str(path)
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST_FILE_BYTES + 1)
        if len(data) > LARGEST_FILE_BYTES:
            raise ValueError("larger than 8 MiB")
        text = data.decode("utf-8-sig")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(file=name, line=1, column=1, path=(), message=f"cannot be read: {reason}")]) from error
    return parse(text, name, env)


def parse(text: str, name: str, env: Mapping[str, str]) -> Config:
    """Raises ConfigError with every problem found."""
    located = read_yaml(text, name, env)
    if located.value is None and not located.problems:
        located.problems.append(located.problem((), "is empty; examples/daytwo.yaml shows what it may say"))
    file = _validated(located)
    if file is None or located.problems:
        raise ConfigError(located.problems)
    located.problems.extend(located.problem(path, message) for path, message in dangling(file))
    records = _records(file, located)
    if located.problems:
        raise ConfigError(located.problems)
    return Config(records=records, warnings=tuple(located.problem(path, message) for path, message in doubtful(file)))


def _validated(located: Located) -> File | None:
    if located.value is None:
        return None
    try:
        return File.model_validate(located.value)
    except ValidationError as error:
        reported = {problem.path for problem in located.problems}
        problems = [_problem(located, details) for details in error.errors(include_url=False)]
        located.problems.extend(problem for problem in problems if problem.path not in reported)
        return None


def _problem(located: Located, details: Any) -> Problem:
    path: Path = tuple(part for part in details["loc"] if part != "[key]")
    if details["type"] == "extra_forbidden":
        return located.problem(path, f"unknown key{_meant(path)}", at_key=True)
    expected = _expected(path)
    if details["type"] == "missing":
        return located.problem(path, f"is missing: expected {expected}")
    if "[key]" in details["loc"]:
        return located.problem(path, "expected a name of letters, digits and . _ : @ -, at most 128", at_key=True)
    found = "" if path[-1:] in (("secret",), ("api_key_env",)) else f"; found {_shown(details['input'])}"
    why = f" ({details['ctx']['error']})" if details["type"] == "value_error" else ""
    return located.problem(path, f"expected {expected}{found}{why}")


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    return "nothing" if value is None else repr(value)[:80]


def _meant(path: Path) -> str:
    """A suggestion, or all keys there are."""
    if path[-1] == "currency":
        return "; amounts are in US dollars everywhere, such as $5.00"
    model, _ = _field(path[:-1])
    known = list(model.model_fields) if model is not None else []
    close = difflib.get_close_matches(str(path[-1]), known, n=1)
    return f"; did you mean {close[0]}?" if close else f"; known here: {', '.join(known)}"


def _expected(path: Path) -> str:
    _, expected = _field(path)
    return expected


def _field(path: Path) -> tuple[type[BaseModel] | None, str]:
    """The model at a path, if a mapping stands there, and what is expected there."""
    annotation: Any = File
    expected = "a mapping with tenants, deployments or prices"
    for part in path:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            field = annotation.model_fields.get(str(part))
            if field is None:
                return None, expected
            annotation, extra = field.annotation, field.json_schema_extra
            expected = str(extra["expected"]) if isinstance(extra, dict) else expected
        else:
            annotation = next((argument for argument in get_args(annotation) if _is_model(argument)), str)
            expected = "a mapping" if _is_model(annotation) else "a single name"
    return (annotation if _is_model(annotation) else None), expected


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _records(file: File, located: Located) -> dict[str, dict[str, Configured]]:
    """Only sections that are written; a price that is no whole number of nano-dollars is a problem."""
    prices = []
    for index, price in enumerate(file.prices):
        try:
            prices.append(_price(price))
        except ValueError as error:
            located.problems.append(located.problem(("prices", index), f"the price is {error} per 1M tokens"))
    records: dict[str, dict[str, Configured]] = {}
    if "tenants" in file.model_fields_set:
        records[TENANT_CONFIGURED.name] = {name: _tenant(name, tenant) for name, tenant in file.tenants.items()}
    if "deployments" in file.model_fields_set:
        records[DEPLOYMENT_CONFIGURED.name] = {name: _deployment(name, deployment) for name, deployment in file.deployments.items()}
    if "prices" in file.model_fields_set:
        records[PRICE_CONFIGURED.name] = dict(_keyed(prices, located))
    return records


def _keyed(prices: list[PriceConfigured], located: Located) -> Iterator[tuple[str, PriceConfigured]]:
    seen = set()
    for index, price in enumerate(prices):
        key = PRICE_CONFIGURED.key(price)
        if key in seen:
            located.problems.append(located.problem(("prices", index), f"{price.provider}/{price.model} has a price from that day already"))
        seen.add(key)
        yield key, price


def _tenant(name: str, tenant: Tenant) -> TenantConfigured:
    cache = tenant.cache
    return TenantConfigured(
        tenant=name,
        active=tenant.active,
        keys=tuple(SigningKey(id=key.id, secret=key.secret) for key in tenant.keys),
        over_budget=tenant.over_budget,
        models=tenant.models,
        embedding_model=tenant.embedding_model,
        cache=CachePolicy(enabled=cache.enabled, threshold=cache.threshold, ttl_s=cache.ttl),
        default_timeout_ms=tenant.default_timeout,
        max_timeout_ms=tenant.max_timeout,
        at_limit=tenant.at_limit,
        cheaper_route=tenant.cheaper_route or "",
        unpriced_bound=None if tenant.unpriced is None else _unpriced(tenant.unpriced),
        **_limits(tenant),
    )


def _limits(tenant: Tenant) -> dict[str, Any]:
    """The caps by their unit, and the rate limits."""
    caps = {unit: [cap for cap in tenant.caps if cap.limit.unit == unit] for unit in ("money", "tokens", "open requests")}
    return {
        "caps": tuple(Cap(scope=c.scope, subject=c.subject, period=c.period, limit_nano=c.limit.value) for c in caps["money"]),
        "token_caps": tuple(
            TokenCap(scope=c.scope, subject=c.subject, period=c.period, limit_tokens=c.limit.value) for c in caps["tokens"]
        ),
        "concurrency_caps": tuple(
            ConcurrencyCap(scope=c.scope, subject=c.subject, limit_requests=c.limit.value) for c in caps["open requests"]
        ),
        "rate_limits": tuple(
            RateLimit(
                scope=rate.scope,
                subject=rate.subject,
                kind=rate.limit.unit,
                period=rate.per,
                limit=rate.limit.value,
                burst=rate.burst.value if rate.burst else 0,
            )
            for rate in tenant.rate_limits
        ),
    }


def _unpriced(bound: Unpriced) -> PriceBound:
    """Rounded up to whole nano-dollars per million tokens: it is a bound."""
    return PriceBound(
        input_nano_per_mtok=nano_ceiling(bound.input, times=MILLION, per=bound.per),
        output_nano_per_mtok=nano_ceiling(bound.output, times=MILLION, per=bound.per),
        request_nano=bound.request,
    )


def _deployment(name: str, deployment: Deployment) -> DeploymentConfigured:
    return DeploymentConfigured(
        deployment=name,
        active=deployment.active,
        provider=deployment.provider,
        model=deployment.model,
        base_url=deployment.base_url.rstrip("/"),
        api_key_env=deployment.api_key_env,
        aliases=deployment.aliases,
        priority=deployment.priority,
        weight=deployment.weight,
        timeout_ms=deployment.timeout,
        max_in_flight=deployment.max_in_flight,
    )


def _price(price: Price) -> PriceConfigured:
    return PriceConfigured(
        provider=price.provider,
        model=price.model,
        valid_from_ms=price.valid_from,
        active=price.active,
        **_per_token(price),
        request_nano=price.request,
        image_nano=price.image,
        batch_discount_permille=price.batch_discount,
        machine_hour_nano=price.machine_hour,
        throughput_tokens_per_s=price.throughput,
    )


def _per_token(price: Price) -> dict[str, Any]:
    """Given per token, or by the machine's hour: a machine charges for a token whatever it is."""
    if price.machine_hour and price.throughput:
        of_machine = machine_nano_per_mtok(price.machine_hour, price.throughput)
        return dict.fromkeys(("input_nano_per_mtok", "cached_input_nano_per_mtok", "output_nano_per_mtok"), of_machine)
    fresh, output = price.input or Decimal(0), price.output or Decimal(0)  # one that is missing is a problem already
    amounts = {
        "input_nano_per_mtok": fresh,
        "cached_input_nano_per_mtok": fresh if price.cached_input is None else price.cached_input,
        "output_nano_per_mtok": output,
        "reasoning_nano_per_mtok": price.reasoning,
    }
    return {name: nano(amount, times=MILLION, per=price.per) for name, amount in amounts.items() if amount is not None}
