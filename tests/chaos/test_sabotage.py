"""The harness of real processes proves itself: what is broken on purpose is told, by the checks that every run ends with."""

from __future__ import annotations

import json
import random
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from tests.chaos.checks import judge
from tests.chaos.plan import SERVICES, Step
from tests.chaos.run import run
from tests.chaos.site import Site, site
from tests.stack import STATE

pytestmark = [pytest.mark.stack, pytest.mark.system]

KILL = Step(at_s=3, fault="kill all services", targets=SERVICES)
IMPATIENT = partial(judge, backlog_s=10.0, settle_s=2.0)
"""What is broken on purpose does not come right by waiting."""
LATENCY = {"latency_ms": {"median": 1000, "p99": 1500}}
"""So that calls are under way at every moment."""


async def test_a_journal_that_is_forgotten_and_an_offset_that_runs_ahead_are_told() -> None:
    """One system for both: a service reads what it is to do wrong when it starts, and all are killed in between."""
    async with site(Path(f"{STATE}-chaos-sabotage")) as here:
        take(here, LATENCY)
        here.sabotage_file.write_text("forget-the-journal")
        forgotten = await run(here, [KILL], random.Random(5), print, IMPATIENT)
        here.sabotage_file.write_text("commit-before-acknowledgement")
        # Killed twice: the first time for the sabotage to begin, the second for it to do harm.
        ahead = await run(here, [KILL, KILL], random.Random(6), print, IMPATIENT)

    broken = {violation["rule"] for violation in forgotten.verdict.audited["violations"]}
    assert broken & {"attempt_unbooked", "below_bill", "attempt_ended_twice"}, forgotten.verdict.wrong
    assert forgotten.verdict.wrong["every id that was sent has a result"] == []
    assert ahead.verdict.wrong["every id that was sent has a result"], "everything was answered"
    assert ahead.verdict.wrong["nothing is left to read"] == [], "it may be answered yet"


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
