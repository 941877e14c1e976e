"""daytwo.yaml: what it becomes, and what is said where it is wrong."""

from __future__ import annotations

import contextlib
from decimal import Decimal
from pathlib import Path
from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.config_file import Config, ConfigError, load, parse
from daytwo.config_file.reference import reference
from daytwo.config_file.units import dollars, duration_text, milliseconds, moment, money_text, nano, tokens
from daytwo.records import (
    Cap,
    ConcurrencyCap,
    DeploymentConfigured,
    PriceBound,
    PriceConfigured,
    RateLimit,
    TenantConfigured,
    TokenCap,
)

ROOT = Path(__file__).parents[2]

DEPLOYMENT = "{provider: p, model: m, base_url: http://h/v1}"


def read(text: str, **env: str) -> Config:
    return parse(dedent(text), "daytwo.yaml", env)


def problems(text: str, **env: str) -> list[str]:
    with pytest.raises(ConfigError) as error:
        read(text, **env)
    return [str(problem) for problem in error.value.problems]


def test_the_example_is_valid_and_needs_no_second_look() -> None:
    config = load(ROOT / "examples" / "daytwo.yaml", {"ACME_SECRET": "a-secret-of-enough-letters"})

    acme = config.records["tenant-configured"]["acme"]
    assert isinstance(acme, TenantConfigured)
    assert acme.caps[0].limit_nano == 5_000_000_000
    assert acme.keys[0].secret == "a-secret-of-enough-letters"
    assert acme.cache.ttl_s == 86_400
    assert config.warnings == ()


def test_defaults_are_those_of_the_schema() -> None:
    config = read(f"{{tenants: {{t: {{}}}}, deployments: {{d: {DEPLOYMENT}}}}}")
    assert config.records["tenant-configured"]["t"] == TenantConfigured(tenant="t")
    assert config.records["deployment-configured"]["d"] == DeploymentConfigured(
        deployment="d", provider="p", model="m", base_url="http://h/v1", aliases=()
    )


def test_prices_are_exact_per_million_tokens() -> None:
    prices = "prices: [{provider: p, model: m, valid_from: 2026-01-01, input: $0.00015, output: $0.0006, per: 1k tokens, request: $0.01}]"
    assert read(prices).records["price-configured"] == {
        "p/m/1767225600000": PriceConfigured(
            provider="p",
            model="m",
            valid_from_ms=1_767_225_600_000,
            input_nano_per_mtok=150_000_000,
            cached_input_nano_per_mtok=150_000_000,
            output_nano_per_mtok=600_000_000,
            request_nano=10_000_000,
        )
    }


def test_only_sections_that_are_written_are_touched() -> None:
    assert set(read("prices: []").records) == {"price-configured"}
    assert read("tenants: {}").records == {"tenant-configured": {}}


def test_every_problem_is_named_at_once_with_its_place() -> None:
    text = """\
    tenants:
      acme:
        activ: true
        caps: [{scope: team, period: day, limit: €5}]
        cache: {ttl: 30}
    deployments:
      small: {provider: p, model: m}
    """
    assert problems(text) == [
        "daytwo.yaml:3:5: tenants.acme.activ: unknown key; did you mean active?",
        "daytwo.yaml:4:20: tenants.acme.caps[0].scope: expected tenant, user, workflow, session or agent; found 'team'",
        (
            "daytwo.yaml:4:46: tenants.acme.caps[0].limit: expected $5.00, 2M tokens or 20 open requests; found '€5'"
            " (only US dollars are counted)"
        ),
        (
            "daytwo.yaml:5:18: tenants.acme.cache.ttl: expected a duration, such as 30s, 5m, 24h or 1h30m; found '30'"
            " (write the unit, as in 30s)"
        ),
        "daytwo.yaml:7:10: deployments.small.base_url: is missing: expected an address such as https://api.openai.com/v1",
    ]


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        ("", "1:1", "is empty"),
        ("- a\n- b", "1:1", "expected a mapping with tenants"),
        ("tenants:\n  a: {", "2:7", "not YAML"),
        ("tenants:\n  a: {keys: [{id: k, secret: ${S}}]}", "2:31", "in quotes"),
        ("tenants:", "1:9", "{} for none"),
        ("tenants: {a: {}, a: {}}", "1:18", "given twice; first in line 1"),
        ("tenants: {a b: {}}", "1:11", "a name of letters"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: -$1}]}}", "1:56", "must not be negative"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: $100000001}]}}", "1:56", "surely not meant"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: -5 tokens}]}}", "1:56", "must not be negative"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: 5 EUR}]}}", "1:56", "only US dollars"),
        ("tenants: {a: {currency: EUR}}", "1:15", "US dollars everywhere"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: 5}]}}", "1:56", "write the unit"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: $99000000}]}}", "1:56", "surely not meant"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: 9999999G tokens}]}}", "1:56", "surely not meant"),
        ("tenants: {a: {caps: [{scope: user, period: 0s, limit: $1}]}}", "1:44", "hour, day, month or total"),
        ("tenants: {a: {caps: [{scope: user, limit: $1}]}}", "1:22", "period is missing"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: 9 open requests}]}}", "1:44", "have no period"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: 9 requests}]}}", "1:56", "are a rate limit"),
        ("tenants: {a: {caps: [{scope: tenant, subject: b, period: day, limit: $9}]}}", "1:47", "has no subject"),
        ("tenants: {a: {rate_limits: [{scope: user, limit: $1}]}}", "1:50", "money and open requests are caps"),
        ("tenants: {a: {rate_limits: [{scope: user, limit: 9 requests, per: day}]}}", "1:67", "requests are limited per minute"),
        ("tenants: {a: {rate_limits: [{scope: user, limit: 9 requests, per: 0s}]}}", "1:67", "minute or day"),
        ("tenants: {a: {rate_limits: [{scope: user, limit: 9 requests, burst: 9 tokens}]}}", "1:69", "of tokens, the limit of requests"),
        ("tenants: {a: {at_limit: [cheaper_route]}}", "1:25", "add cheaper_route"),
        ("tenants: {a: {at_limit: [refuse, wait]}}", "1:25", "nothing is tried after refuse"),
        (f"{{tenants: {{a: {{cheaper_route: x}}}}, deployments: {{default: {DEPLOYMENT}}}}}", "1:31", "no deployment serves x"),
        ("prices: [{batch_discount: 150%, provider: p, model: m, valid_from: 2026-01-01, input: $1, output: $1}]", "1:27", "than 100%"),
        ("tenants: {a: {cache: {threshold: nan}}}", "1:34", "from 0 to 1"),
        ("tenants: {a: {cache: {ttl: 1500ms}}}", "1:28", "whole seconds"),
        ("tenants: {a: {max_timeout: 400d}}", "1:28", "longer than a year"),
        ("tenants: {a: {default_timeout: 2h}}", "1:32", "longer than max_timeout"),
        ("tenants: {a: {keys: [{id: k, secret: s}, {id: k, secret: t}]}}", "1:21", "given 2 times"),
        ("tenants: {a: {caps: [{scope: user, period: day, limit: $1}, {scope: user, period: day, limit: $2}]}}", "1:21", "which one holds"),
        (f"{{tenants: {{a: {{models: [defualt]}}}}, deployments: {{default: {DEPLOYMENT}}}}}", "1:25", "did you mean default?"),
        ("prices: [{provider: p, model: m, valid_from: 20260101, input: $1, output: $1}]", "1:46", "not a date"),
        ("prices: [{provider: p, model: m, valid_from: 2026-01-01, input: $9, output: $1, per: 1 token}]", "1:10", "what is it `per`?"),
        ("prices: [{provider: p, model: m, valid_from: 2026-01-01, input: $0.1, output: $1, per: 3 tokens}]", "1:10", "nano-dollar"),
        ("tenants: {a: &x {cache: *x}}", "1:18", ""),
        ("tenants: !env {}", "1:10", "tag"),
        ("tenants: {a: {active: !env X}}", "1:23", "tag"),
        ("tenants: {? [a] : {}}", "1:10", "a key must be a word"),
        ("x: " + "[" * 30 + "]" * 30, "1:1", "too deep"),
        ("a0: &a0 x\n" + "".join(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 8)), "1:1", "too large"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_where_it_stands(text: str, place: str, what: str) -> None:
    first = next(problem for problem in problems(text) if what in problem)
    assert place in first or not what


def test_a_machine_of_ones_own_is_priced_by_its_hour_and_throughput() -> None:
    file = "prices: [{provider: p, model: m, valid_from: 2026-01-01, machine_hour: $2, throughput: 1000}]"

    (price,) = read(file).records["price-configured"].values()

    assert isinstance(price, PriceConfigured)
    assert {price.input_nano_per_mtok, price.cached_input_nano_per_mtok, price.output_nano_per_mtok} == {555_555_556}
    assert (price.machine_hour_nano, price.throughput_tokens_per_s, price.reasoning_nano_per_mtok) == (2_000_000_000, 1000.0, None)


def test_a_machine_that_makes_tokens_dear_is_a_warning() -> None:
    file = "prices: [{provider: p, model: m, valid_from: 2026-01-01, machine_hour: $2, throughput: 0.1}]"

    assert ["tokens a second?" in str(warning) for warning in read(file).warnings] == [True]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ("output: $1", "input: is missing"),
        ("machine_hour: $2", "give both or none"),
        ("machine_hour: $2, throughput: 1000, input: $1, output: $1", "which one holds?"),
        ("input: 1 EUR, output: $1", "only US dollars"),
        ("input: $-1, output: $1", "negative"),
    ],
)
def test_half_a_price_is_none(fields: str, said: str) -> None:
    assert any(said in problem for problem in problems(f"prices: [{{provider: p, model: m, valid_from: 2026-01-01, {fields}}}]"))


def test_two_prices_from_the_same_day_are_refused() -> None:
    price = "{provider: p, model: m, valid_from: 2026-01-01, input: $1, output: $1}"
    assert "has a price from that day already" in problems(f"prices: [{price}, {price}]")[0]


def test_the_environment_is_expanded_and_what_is_not_set_is_named_by_line() -> None:
    text = "tenants:\n  a:\n    keys:\n      - {id: k, secret: '${S}-${T:-t}-$${U}'}\n"
    tenant = read(text, S="s").records["tenant-configured"]["a"]
    assert isinstance(tenant, TenantConfigured)
    assert tenant.keys[0].secret == "s-t-${U}"
    assert problems(text) == [
        "daytwo.yaml:4:25: tenants.a.keys[0].secret: the environment variable S is not set; set it, or write ${S:-default}"
    ]
    assert "is no variable" in problems("tenants: {a: {over_budget: '${a b}'}}")[0]


def test_yaml_does_not_guess_types() -> None:
    config = read("tenants: {no: {active: off, keys: [{id: 007, secret: 1e3}]}}")
    tenant = config.records["tenant-configured"]["no"]
    assert isinstance(tenant, TenantConfigured)
    assert (tenant.active, tenant.keys[0].id, tenant.keys[0].secret) == (False, "007", "1e3")


def test_secrets_are_not_shown_in_errors() -> None:
    text = f"tenants: {{a: {{keys: [{{id: k, secret: '{'x' * 2000}'}}]}}}}\n"
    assert "xxx" not in str(problems(text))
    assert "sk-123" not in str(problems("deployments: {d: {provider: p, model: m, base_url: http://h, api_key_env: sk-123}}"))


def test_what_is_hardly_meant_is_a_warning() -> None:
    config = read(
        """\
        tenants: {a: {keys: [{id: k, secret: short}]}}
        prices:
          - {provider: p, model: m, valid_from: 2026-01-01, input: $0.0000002, output: $0.0000001, cached_input: $1}
        """
    )
    said = [str(warning) for warning in config.warnings]
    for what in ("shorter than 16", "has no cap", "what is it `per`?", "cheaper than input", "dearer than input"):
        assert any(what in line for line in said), what


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path: Path) -> None:
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "missing.yaml", tmp_path, binary):
        with pytest.raises(ConfigError, match="cannot be read"):
            load(path, {})


@given(st.text(max_size=200))
def test_no_text_is_a_crash(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text, "x.yaml", {})


@given(st.integers(0, 10**17))
def test_money_survives_writing_and_reading(amount: int) -> None:
    assert nano(dollars(money_text(amount))) == amount


@given(st.integers(1, 366 * 86_400_000))
def test_durations_survive_writing_and_reading(ms: int) -> None:
    assert milliseconds(duration_text(ms)) == ms


def test_units_are_read_as_written() -> None:
    assert [dollars(text) for text in ("$5", "$1,000.50", "0.10 USD", "$ 3")] == [5, Decimal("1000.50"), Decimal("0.10"), 3]
    assert [milliseconds(text) for text in ("500ms", "1h30m", "7d")] == [500, 5_400_000, 604_800_000]
    assert [tokens(text) for text in ("1M tokens", "1k", "1 token")] == [1_000_000, 1000, 1]
    assert moment("2026-01-31T12:00:00+02:00") == moment("2026-01-31T10:00:00Z")
    for text in ("CA$5", "5 EUR", "$1,00", "five", "$", "1e9 USD"):
        with pytest.raises(ValueError, match=r"dollars|amount|currency"):
            dollars(text)
    with pytest.raises(ValueError, match="finer"):
        nano(Decimal("0.0000000001"))


def test_the_reference_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "configuration.md").read_text() == reference()


def test_caps_go_by_their_unit_and_rate_limits_by_theirs() -> None:
    tenant = read(
        """\
        tenants:
          acme:
            caps:
              - {scope: tenant, period: month, limit: "$1,000"}
              - {scope: workflow, subject: "nightly-*", period: day, limit: 2M tokens}
              - {scope: agent, limit: 20 open requests}
            rate_limits:
              - {scope: user, limit: 60 requests, burst: 20 requests}
              - {scope: tenant, limit: 1G tokens, per: day}
            at_limit: [cache_only, wait, cheaper_route]
            cheaper_route: mini
            unpriced: {input: $10, output: $0.0000001, per: 3 tokens}
        """
    ).records["tenant-configured"]["acme"]
    assert isinstance(tenant, TenantConfigured)

    assert tenant.caps == (Cap(scope="tenant", period="month", limit_nano=10**12),)
    assert tenant.token_caps == (TokenCap(scope="workflow", subject="nightly-*", period="day", limit_tokens=2_000_000),)
    assert tenant.concurrency_caps == (ConcurrencyCap(scope="agent", limit_requests=20),)
    assert tenant.rate_limits == (
        RateLimit(scope="user", kind="requests", period="minute", limit=60, burst=20),
        RateLimit(scope="tenant", kind="tokens", period="day", limit=10**9),
    )
    assert (tenant.at_limit, tenant.cheaper_route) == (("cache_only", "wait", "cheaper_route"), "mini")
    bound = PriceBound(input_nano_per_mtok=3_333_333_333_333_334, output_nano_per_mtok=33_333_334)
    assert tenant.unpriced_bound == bound, "rounded up: it is a bound"
