"""The shape of `daytwo.yaml`. What a key expects is said once here, for the error messages and for docs/configuration.md."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from daytwo.config_file import units

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@-]{1,128}$")]
NAME = "a name of letters, digits and . _ : @ -, at most 128"


def _written(convert: Callable[[str], Any]) -> BeforeValidator:
    def checked(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("not a single value")
        return convert(value)

    return BeforeValidator(checked)


Dollars = Annotated[Decimal, _written(units.dollars)]
Nano = Annotated[int, _written(lambda text: units.nano(units.dollars(text)))]
Milliseconds = Annotated[int, _written(units.milliseconds)]
Seconds = Annotated[int, _written(units.seconds)]
Tokens = Annotated[int, _written(units.tokens)]
Moment = Annotated[int, _written(units.moment)]

MONEY = "an amount in US dollars, such as $5.00"
DURATION = "a duration, such as 30s, 5m, 24h or 1h30m"
SWITCH = "true or false"


def key(expected: str, meaning: str, default: Any = ..., **limits: Any) -> Any:
    """A key of the file: what may stand there, and what it means. Without a default it is required."""
    extra: JsonDict = {"expected": expected}
    return Field(default, description=meaning, json_schema_extra=extra, validate_default=True, **limits)


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Key(Section):
    """A key the tenant signs with."""

    id: Name = key(NAME, "Id of the key, sent in the header daytwo-key.")
    secret: str = key('a secret; best "${A_VARIABLE}"', "Shared secret of HMAC-SHA256.", min_length=1, max_length=1024)


class Cap(Section):
    """A spending cap that holds: settled and reserved money together never exceed it."""

    scope: Literal["tenant", "user", "workflow"] = key("tenant, user or workflow", "Whose spending; each user or workflow has its own.")
    period: Literal["hour", "day", "month", "total"] = key("hour, day, month or total", "When it renews, in UTC.")
    limit: Nano = key(MONEY, "The cap.")


class Cache(Section):
    """How the tenant's answers are cached."""

    enabled: bool = key(SWITCH, "False: never read nor learn.", "true")
    threshold: float = key(
        "a number from 0 to 1, or 2",
        "Least cosine similarity of an answer found by meaning; above 1: only equal questions.",
        "0.95",
        ge=0,
        le=2,
    )
    ttl: Seconds = key(DURATION, "How long an answer may be served.", "24h")


class Tenant(Section):
    """A tenant and its policy."""

    active: bool = key(SWITCH, "False: everything it submits is refused.", "true")
    keys: tuple[Key, ...] = key("a list of keys", "If there are any, every request and document must be signed with one.", ())
    caps: tuple[Cap, ...] = key("a list of caps", "Spending caps; none: no cap.", ())
    over_budget: Literal["cache_only", "refuse"] = key(
        "cache_only or refuse", "At the cap: a cached answer, else refused; or refused at once.", "cache_only"
    )
    models: tuple[Name, ...] = key("a list of names", "Models and aliases it may ask for; none: all.", ())
    embedding_model: Literal["wordllama-256", "minilm-int8"] = key(
        "wordllama-256 or minilm-int8", "The first is fast, the second finds more.", "wordllama-256"
    )
    cache: Cache = key("a mapping", "How its answers are cached.", {})
    default_timeout: Milliseconds = key(DURATION, "Deadline of a request that names none, from its arrival.", "60s")
    max_timeout: Milliseconds = key(DURATION, "Longest deadline it may ask for, from arrival.", "1h")


class Deployment(Section):
    """A model served somewhere, behind an OpenAI-compatible API."""

    provider: str = key(
        "a name without /", "As genai-prices names it, such as openai; or any name for a model of your own.", pattern=r"^[^/\s]{1,128}$"
    )
    model: str = key("a name", "The model as the provider calls it.", min_length=1, max_length=256)
    base_url: str = key("an address such as https://api.openai.com/v1", "Up to and including /v1.", pattern=r"^https?://[^\s/]+(/[^\s]*)?$")
    api_key_env: str = key(
        "the name of an environment variable, or nothing",
        "Where the inference-router finds the API key. The key itself never stands in this file.",
        "",
        pattern=r"^([A-Za-z_][A-Za-z0-9_]*)?$",
    )
    aliases: tuple[Name, ...] = key("a list of names", "What requests may call it, besides its own name and its model.", ())
    priority: int = key("a whole number from 0", "Tier: lower is tried first, the next is the fallback.", "0", ge=0, le=1000)
    weight: int = key("a whole number from 1", "Share of the traffic within its tier.", "1", ge=1, le=1_000_000)
    timeout: Milliseconds = key(DURATION, "Longest time of one attempt; the deadline may shorten it.", "60s")
    max_in_flight: int = key("a whole number from 1", "Calls at the same time, per router.", "256", ge=1, le=100_000)
    active: bool = key(SWITCH, "False: it is not used.", "true")


class Price(Section):
    """A price that genai-prices does not know, or knows otherwise, from a day on."""

    provider: str = key("a name without /", "Provider of the deployment.", pattern=r"^[^/\s]{1,128}$")
    model: str = key("a name", "Model as the provider calls it.", min_length=1, max_length=256)
    valid_from: Moment = key("a date or moment, such as 2026-01-31 or 2026-01-31T12:00:00Z", "From when on; UTC if no zone is given.")
    input: Dollars = key(MONEY, "Price of input tokens.")
    cached_input: Dollars | None = key(MONEY, "Price of input tokens the provider had cached; not given: as input.", None)
    output: Dollars = key(MONEY, "Price of output tokens.")
    per: Tokens = key("a number of tokens such as 1M tokens", "What the prices are for.", "1M tokens")
    request: Nano = key(MONEY, "Price of a call as such.", "$0")
    active: bool = key(SWITCH, "False: withdrawn.", "true")


class File(Section):
    """Three sections, none of them required."""

    tenants: dict[Name, Tenant] = key("a mapping of tenants by name; {} for none", "Who may ask, and what it may cost.", {})
    deployments: dict[Name, Deployment] = key("a mapping of deployments by name; {} for none", "What answers.", {})
    prices: tuple[Price, ...] = key("a list of prices; [] for none", "Overrides of genai-prices.", ())
