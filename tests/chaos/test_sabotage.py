"""The harness of real processes proves itself: what is broken on purpose is told, by the checks that every run ends with."""

from __future__ import annotations

import asyncio
import json
import random
import signal
import urllib.request
from pathlib import Path

import pytest

from tests.chaos.checks import judge
from tests.chaos.load import Sent, client
from tests.chaos.plan import SERVICES
from tests.chaos.run import configure
from tests.chaos.site import Site, site
from tests.stack import STATE

pytestmark = [pytest.mark.stack, pytest.mark.system]

IMPATIENT_S = 12.0
"""What is broken on purpose does not come right by waiting."""
LATENCY = {"latency_ms": {"median": 1500, "p99": 2500}}
"""Longer than the loop takes between two commits, so that calls are under way whose offsets could be committed."""


async def test_a_journal_that_is_forgotten_and_an_offset_that_runs_ahead_are_told() -> None:
    """One system for both: a service reads what it is to do wrong when it starts, so all are killed in between."""
    sent = Sent()
    async with site(Path(f"{STATE}-chaos-sabotage")) as here:
        await configure(here)
        take(here, LATENCY)
        load = [asyncio.create_task(client(f"c{n}", here.where["kafka"], random.Random(n), 5.0, sent)) for n in range(3)]
        await asyncio.sleep(5)
        # Whoever starts now does not know what was bought.
        await killed(here, "forget-the-journal", then_s=9)
        await killed(here, "commit-before-acknowledgement", then_s=9)
        await killed(here, "", then_s=0)
        for task in load:
            task.cancel()
        await asyncio.gather(*load, return_exceptions=True)
        verdict = await judge(here, sent, backlog_s=IMPATIENT_S, settle_s=2.0)

    broken = {violation["rule"] for violation in verdict.audited["violations"]}
    assert broken & {"attempt_unbooked", "below_bill", "attempt_ended_twice"}, verdict.wrong
    assert verdict.wrong["every id that was sent has a result"], "everything was answered"
    assert verdict.wrong["nothing is left to read"] == [], "it may be answered yet"


async def killed(here: Site, sabotage: str, then_s: float) -> None:
    """Every service, at once; they start again with this sabotage, or none, and work for a while."""
    if sabotage:
        here.sabotage_file.write_text(sabotage)
    else:
        here.sabotage_file.unlink()
    await here.signal(SERVICES, signal.SIGKILL)
    await asyncio.sleep(then_s)


def take(here: Site, latency: dict[str, dict[str, int]]) -> None:
    """Tells the mock provider how long it is to take."""
    request = urllib.request.Request(
        here.where["mock_provider"].removesuffix("/v1") + "/config",
        data=json.dumps(latency).encode(),
        method="PUT",
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10):
        pass
