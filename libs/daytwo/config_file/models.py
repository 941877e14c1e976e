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
Limit = Annotated[units.Amount, _written(units.limit)]
Pattern = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._:@*-]{1,128}$")]
Scope = Literal["tenant", "user", "workflow", "session", "agent"]
Percent = Annotated[int, _written(units.permille)]
Moment = Annotated[int, _written(units.moment)]

SCOPE = "tenant, user, workflow, session or agent"
PATTERN = "a name, in which * stands for any letters"
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
    """A cap that holds: what is settled and reserved together never exceeds it."""

    scope: Scope = key(SCOPE, "Whose: each user, workflow, session or agent has a cap of its own.")
    subject: Pattern = key(PATTERN, "Which of them. Of several patterns that fit, the most specific holds.", "*")
    period: Literal["hour", "day", "month", "total", ""] = key(
        "hour, day, month or total", "When it renews, in UTC; required, but for open requests.", ""
    )
    limit: Limit = key("$5.00, 2M tokens or 20 open requests", "The cap: of money, of tokens, or of requests open at the same time.")


class RateLimit(Section):
    """A limit per time. It throttles: what is in flight when it is reached may pass it."""

    scope: Scope = key(SCOPE, "Whose: each user, workflow, session or agent has a limit of its own.")
    subject: Pattern = key(PATTERN, "Which of them. Of several patterns that fit, the most specific holds.", "*")
    limit: Limit = key("60 requests or 100k tokens", "How many a period.")
    per: Literal["minute", "day"] = key("minute or day", "The period: requests per minute, tokens per minute, tokens per day.", "minute")
    burst: Limit | None = key("as limit", "How many may come at once after a rest; not given: as the limit.", None)


class Unpriced(Section):
    """What a model without a known price may cost at most."""

    input: Dollars = key(MONEY, "Price of input tokens.")
    output: Dollars = key(MONEY, "Price of output tokens.")
    per: Tokens = key("a number of tokens such as 1M tokens", "What the prices are for.", "1M tokens")
    request: Nano = key(MONEY, "Price of a call as such.", "$0")


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
    caps: tuple[Cap, ...] = key("a list of caps", "Caps of money, tokens and open requests; none: no cap.", ())
    rate_limits: tuple[RateLimit, ...] = key("a list of rate limits", "Limits of requests and tokens per time.", ())
    over_budget: Literal["cache_only", "refuse"] = key(
        "cache_only or refuse", "At a limit, where at_limit is not given: a cached answer, else refused; or refused at once.", "cache_only"
    )
    at_limit: tuple[Literal["cache_only", "wait", "cheaper_route", "refuse"], ...] = key(
        "a list of cache_only, wait, cheaper_route, refuse",
        "What is tried at a limit, in this order: a cached answer; wait for room if the deadline allows; the cheaper route. Then refused.",
        (),
    )
    cheaper_route: Name | None = key(NAME, "Alias, model or deployment of at_limit's cheaper_route.", None)
    unpriced: Unpriced | None = key("a mapping", "A bound for models without a known price; not given: they are refused.", None)
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
    input: Dollars | None = key(MONEY, "Price of input tokens; required, but where machine_hour is given.", None)
    cached_input: Dollars | None = key(MONEY, "Price of input tokens the provider had cached; not given: as input.", None)
    output: Dollars | None = key(MONEY, "Price of output tokens; required, but where machine_hour is given.", None)
    per: Tokens = key("a number of tokens such as 1M tokens", "What the prices are for.", "1M tokens")
    request: Nano = key(MONEY, "Price of a call as such.", "$0")
    reasoning: Dollars | None = key(MONEY, "Price of reasoning tokens; not given: as output.", None)
    image: Nano = key(MONEY, "Price of an image.", "$0")
    batch_discount: Percent = key("a percentage such as 50%", "Off all of it, in lane batch.", "0%")
    machine_hour: Nano = key(
        MONEY, "Of a self-hosted model: an hour of its machine. With throughput it makes the price of input and output.", "$0"
    )
    throughput: float = key(
        "a number of tokens a second", "Of a self-hosted model: input and output together, measured under load.", "0", ge=0, le=10_000_000
    )
    active: bool = key(SWITCH, "False: withdrawn.", "true")


class File(Section):
    """Three sections, none of them required."""

    tenants: dict[Name, Tenant] = key("a mapping of tenants by name; {} for none", "Who may ask, and what it may cost.", {})
    deployments: dict[Name, Deployment] = key("a mapping of deployments by name; {} for none", "What answers.", {})
    prices: tuple[Price, ...] = key("a list of prices; [] for none", "Overrides of genai-prices.", ())
