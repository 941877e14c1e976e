"""What a model can be had for: remembered, and never longer than it is true."""

from __future__ import annotations

from daytwo.records import DeploymentConfigured, PriceBound, PriceConfigured
from daytwo.topics import DEPLOYMENT_CONFIGURED, PRICE_CONFIGURED
from services.cost_meter.quoting import Quoting
from tests.cost_meter.builders import HOUR, NOON, deployment, follow, price


async def quoting(*rows: DeploymentConfigured | PriceConfigured) -> Quoting:
    made = Quoting()
    await change(made, *rows)
    return made


async def change(made: Quoting, *rows: DeploymentConfigured | PriceConfigured) -> None:
    for row in rows:
        if isinstance(row, DeploymentConfigured):
            await follow(made.deployments, DEPLOYMENT_CONFIGURED, row)
        else:
            await follow(made.prices, PRICE_CONFIGURED, row)


def dollars(made: Quoting, at_ms: int = NOON) -> list[int]:
    return [quote.input_nano_per_mtok for quote in made.offer("small", at_ms).quotes]


async def test_it_is_worked_out_once_as_long_as_nothing_changes() -> None:
    made = await quoting(deployment(), price())

    assert made.offer("small", NOON) is made.offer("small", NOON + HOUR)


async def test_a_price_that_begins_within_the_day_holds_from_its_moment_on() -> None:
    made = await quoting(deployment(), price(input_nano_per_mtok=1), price(input_nano_per_mtok=2, valid_from_ms=NOON + 1))

    assert [dollars(made, at) for at in (NOON, NOON + 1, NOON)] == [[1], [2], [1]]


async def test_a_new_price_and_a_new_deployment_are_seen_at_once() -> None:
    made = await quoting(deployment(), price(input_nano_per_mtok=1))
    before = dollars(made)

    await change(made, price(input_nano_per_mtok=3))
    dearer = dollars(made)
    await change(made, deployment(deployment="mock-b"))
    both = dollars(made)
    await change(made, deployment(active=False), deployment(deployment="mock-b", active=False))

    assert (before, dearer, both, made.offer("small", NOON).routes) == ([1], [3], [3, 3], [])


async def test_each_lane_and_each_bound_has_its_own() -> None:
    made = await quoting(deployment(), deployment(deployment="own", model="unheard-of", priority=1), price(batch_discount_permille=500))
    bound = PriceBound(input_nano_per_mtok=9, output_nano_per_mtok=9)

    assert len(made.offer("small", NOON).quotes) == 1
    assert [quote.is_bound for quote in made.offer("small", NOON, bound=bound).quotes] == [False, True]
    assert made.offer("small", NOON, lane="interactive").quotes[0].discount_permille == 0
    assert made.offer("small", NOON, lane="batch").quotes[0].discount_permille == 500
