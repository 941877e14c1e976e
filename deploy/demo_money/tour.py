"""The acts, each with what it must show."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

from daytwo.broker import outgoing
from daytwo.client import Client, RequestFinished, WaitTimeoutError
from daytwo.config_file.units import money_text
from daytwo.kafka import KafkaBroker
from deploy.demo.stage import CommandError, Stage
from deploy.demo_money.evidence import Evidence
from deploy.demo_money.history import TENANT, TIMES, nine_weeks
from deploy.demo_money.provider import FAULTS, OVERBILLED, behave

ACTS: Final = 9
FOLLOW_S: Final = 1.0
"""A change is followed within a second."""
MAX_TOKENS: Final = 400
TENANTS: Final = ("probe", "runaway", "ten", "chaos")
RUNAWAY_CAP: Final = 500_000_000
RUNAWAY_AT_ONCE: Final = 4
ATTEMPTS: Final = 3
CROWD: Final = 200
ROOM: Final = 10
LOAD: Final = 300
OTHER_PRICES: Final = Path(__file__).with_name("other-prices.yaml")
QUESTION: Final = "What does a consumer group do, and what happens to its partitions when one of its members dies?"

Say = Callable[..., None]


class Tour:
    """Raises CommandError and ClientError where going on makes no sense."""

    def __init__(self, stage: Stage, say: Say, evidence: Evidence) -> None:
        self._stage = stage
        self._say = say
        self._evidence = evidence
        self._clients: dict[str, Client] = {}
        self._begun = 0

    async def run(self) -> None:
        self._begin("Tenants, caps, prices: daytwo apply deploy/demo_money/daytwo.yaml")
        self._say(f"  {await self._stage.apply()}")
        await asyncio.sleep(FOLLOW_S)
        async with AsyncExitStack() as opened:
            self._clients = {name: await opened.enter_async_context(Client(self._stage.kafka, tenant=name)) for name in TENANTS}
            worst_nano = await self._probe()
            await self._runaway(worst_nano)
            await self._crowd(worst_nano)
            await self._kill()
        await self._reconcile()
        await self._usage()
        await self._trend()
        await self._alerts()
        await self._audit()

    async def _probe(self) -> int:
        """The worst case of one request, nano-dollars: the cap of the crowd is made of it."""
        await behave(self._stage.mock_provider, latency_ms=50, output_tokens=MAX_TOKENS)
        result = await self._ask("probe")
        if not result.attempts:
            raise CommandError(f"the first request was not answered: {result.reason} {result.detail}")
        worst_nano = ATTEMPTS * result.attempts[0].bound_nano
        self._say(f"  one request cost {money_text(result.cost_nano)}; its worst case, {ATTEMPTS} attempts: {money_text(worst_nano)}")
        return worst_nano

    async def _runaway(self, worst_nano: int) -> None:
        self._begin(f"A runaway workflow: asks in a loop, {RUNAWAY_AT_ONCE} at once, until its cap of {money_text(RUNAWAY_CAP)} stops it")
        started = time.monotonic()
        results = [result for part in await asyncio.gather(*[self._loop("nightly-1") for _ in range(RUNAWAY_AT_ONCE)]) for result in part]
        results += await self._alone("nightly-1")
        spent = sum(result.cost_nano for result in results)
        window = await self._settled("runaway", "workflow")
        answered = sum(result.outcome == "answered" for result in results)
        self._say(f"  {answered} answered, then {results[-1].reason} after {time.monotonic() - started:.1f} s")
        self._say(f"  {results[-1].detail}")
        self._say(f"  spent {money_text(spent)} of {money_text(RUNAWAY_CAP)}; the ledger says {money_text(window['settled_nano'])} settled")
        self._check("the results' costs are the ledger's, to the nano-dollar", spent == window["settled_nano"])
        self._check("the cap was not passed by a nano-dollar", spent <= RUNAWAY_CAP)
        self._check("it was stopped when one more worst case had no room", RUNAWAY_CAP - spent < worst_nano)
        hit = results[-1].limit_hit
        named = None if hit is None else (hit.scope, hit.subject, hit.limit)
        self._check("the refusal names the cap", named == ("workflow", "nightly-1", RUNAWAY_CAP))

    async def _loop(self, workflow: str) -> list[RequestFinished]:
        results: list[RequestFinished] = []
        while not results or results[-1].outcome == "answered":
            results.append(await self._ask("runaway", workflow=workflow))
        return results

    async def _alone(self, workflow: str) -> list[RequestFinished]:
        """To the very end of the cap: each request once what the one before had reserved is free again."""
        results: list[RequestFinished] = []
        while not results or results[-1].outcome == "answered":
            await self._settled("runaway", "workflow")
            results.append(await self._ask("runaway", workflow=workflow))
        return results

    async def _crowd(self, worst_nano: int) -> None:
        self._begin(f"A crowd: {CROWD} requests at once on a cap for {ROOM}")
        cap_nano = ROOM * worst_nano
        await self._stage.apply(DAYTWO_DEMO_TEN=money_text(cap_nano))
        await asyncio.sleep(FOLLOW_S)
        # Slow answers, so that all are decided while the first ten are open.
        await behave(self._stage.mock_provider, latency_ms=8_000, output_tokens=MAX_TOKENS)
        asking = [asyncio.create_task(self._ask("ten", session=f"s{number}")) for number in range(CROWD)]
        await asyncio.wait(asking, timeout=5)
        window = await self._window("ten", "tenant")
        held = window["settled_nano"] + window["reserved_nano"]
        self._say(f"  the ledger meanwhile: {money_text(held)} settled and reserved of {money_text(cap_nano)}")
        results = await asyncio.gather(*asking)
        outcomes = Counter(result.outcome for result in results)
        self._say(f"  {outcomes['answered']} answered, {outcomes['refused']} refused")
        self._check(f"exactly {ROOM} of {CROWD} were admitted", outcomes == {"answered": ROOM, "refused": CROWD - ROOM})
        self._check("settled and reserved never passed the cap", held <= cap_nano)

    async def _kill(self) -> None:
        self._begin(
            f"Chaos: {LOAD} requests to a provider that fails in every way; kill -9 of cost-meter and of inference-router in the middle"
        )
        await behave(self._stage.mock_provider, latency_ms={"median": 150, "p99": 900}, output_tokens=60, faults=FAULTS)
        asking = [asyncio.create_task(self._paced(number)) for number in range(LOAD)]
        for at, program in ((0.3, "cost-meter-0"), (0.6, "inference-router-0")):
            while sum(task.done() for task in asking) < at * LOAD:
                await asyncio.sleep(0.05)
            await self._stage.kill(program)
            self._say(f"  kill -9 {program} after {sum(task.done() for task in asking)} results")
        results = await asyncio.gather(*asking)
        await self._overbilled()
        outcomes = Counter(result.outcome if result else "lost" for result in results)
        self._say("  " + ", ".join(f"{count} {outcome}" for outcome, count in outcomes.most_common()))
        self._check("every request has one result", not outcomes["lost"])

    async def _overbilled(self) -> None:
        """Not while processes die: of what is billed above its bound and has no end on the log, nobody could know."""
        await behave(self._stage.mock_provider, latency_ms=50, output_tokens=60, faults=OVERBILLED)
        await asyncio.gather(*[self._ask("chaos", workflow="overbilled", max_tokens=100) for _ in range(10)])
        await behave(self._stage.mock_provider, latency_ms=50, output_tokens=60)

    async def _paced(self, number: int) -> RequestFinished | None:
        await asyncio.sleep(number * 0.03)
        try:
            return await self._ask("chaos", session=f"c{number}", workflow=f"chaos-{number % 5}", max_tokens=100, timeout=90.0)
        except WaitTimeoutError:
            return None

    async def _reconcile(self) -> None:
        self._begin(f"The bill: daytwo reconcile --bill {self._stage.mock_provider}/bill")
        found = await self._json("reconcile", "--bill", f"{self._stage.mock_provider}/bill")
        self._say("  " + ", ".join(f"{found[kind]} {kind}" for kind in ("equal", "missing", "different", "unknown")))
        self._say(
            f"  booked {money_text(found['booked_nano'])}, billed {money_text(found['billed_nano'])}; the rest is what is unknown, in full"
        )
        for attempt in [a for a in found["attempts"] if a["kind"] != "unknown" or a["under_booked"]][:5]:
            money = f"booked {attempt['booked_nano']}, billed {attempt['billed_nano']}"
            self._say(f"  {attempt['kind']}: {attempt['attempt_id']} {attempt['detail']}, {money}", style="red")
        self._check("no attempt is missing or different", found["missing"] == found["different"] == 0)
        self._check("there were attempts, and some of unknown outcome", found["equal"] > LOAD and found["unknown"] > 0)
        self._check("none was booked at less than was billed", found["under_booked"] == 0)

    async def _usage(self) -> None:
        self._begin("What it cost, and would have: daytwo usage --by tenant,workflow; daytwo reprice")
        await self._show("usage", "--by", "tenant,workflow")
        await self._show("reprice", "--from", "2026-01-01", "--prices", str(OTHER_PRICES))
        total = (await self._json("usage"))["total"]
        would = (await self._json("reprice", "--from", "2026-01-01", "--prices", str(OTHER_PRICES)))["total"]
        self._check("the sum over requests is the sum over attempts", total["cost_nano"] == would["was_nano"] + would["kept_nano"])

    async def _trend(self) -> None:
        self._begin("The week: nine made-up weeks of the tenant history, then daytwo trends --tenant history")
        records = [outgoing(record) for record in nine_weeks(time.time_ns() // 1_000_000, random.Random(1))]
        sender = KafkaBroker(self._stage.kafka).sender()
        await sender.start()
        await sender.send(records)
        await sender.stop()
        await self._show("trends", "--tenant", TENANT)
        trends = (await self._json("trends", "--tenant", TENANT))["trends"]
        self._check(f"{TIMES} times the usual requests are an unusual week, and the reason", all("requests" in t["reason"] for t in trends))

    async def _alerts(self) -> None:
        self._begin("What people were told: daytwo alerts --all")
        await self._show("alerts", "--all")
        alerts = await self._json("alerts", "--all")
        told = {(alert["kind"], alert["tenant"], alert["subject"], alert["threshold_percent"]) for alert in alerts}
        for threshold in (50, 80, 95, 100):
            self._check(f"{threshold} % of the workflow's cap was told", ("cap_used", "runaway", "nightly-1", threshold) in told)
        self._check("the runaway was told", ("spend_rate", "runaway", "nightly-1", 0) in told)
        self._check("the provider that billed above its bound was told", any(alert["kind"] == "over_billed" for alert in alerts))
        self._check("nothing was told twice", len({alert["alert_id"] for alert in alerts}) == len(alerts))

    async def _audit(self) -> None:
        self._begin("Audit: daytwo audit --json")
        audit = self._evidence.audit = await self._stage.audit()
        self._say("  " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in audit["counts"].items() if count))
        for violation in audit["violations"]:
            self._say(f"  {violation['rule']}: {violation['detail']} {' '.join(violation['ids'])}", style="red")
        self._check("the audit is clean", audit["clean"])

    async def _ask(self, tenant: str, **fields: Any) -> RequestFinished:
        options: dict[str, Any] = {"max_tokens": MAX_TOKENS, "timeout": 60.0, **fields}
        return await self._clients[tenant].ask(QUESTION, check=False, **options)

    async def _window(self, tenant: str, scope: str) -> dict[str, Any]:
        """The window of a total cap, as the ledger has it."""
        windows: Sequence[dict[str, Any]] = (await self._stage.ledger())["tenants"][tenant]["windows"]
        return next(window for window in windows if (window["scope"], window["period"]) == (scope, "total"))

    async def _settled(self, tenant: str, scope: str) -> dict[str, Any]:
        """The same once nothing is reserved in it any more, or after ten seconds: a result is on the log before it is settled."""
        for _ in range(50):
            window = await self._window(tenant, scope)
            if not window["reserved_nano"]:
                break
            await asyncio.sleep(0.2)
        return window

    async def _show(self, *arguments: str) -> None:
        _, text = await self._stage.daytwo(*arguments)
        self._say("\n".join(f"  {line}" for line in text.rstrip().splitlines()))

    async def _json(self, *arguments: str) -> Any:
        _, text = await self._stage.daytwo(*arguments, "--json")
        start = min((text.index(char) for char in "[{" if char in text), default=-1)
        try:
            return json.JSONDecoder().raw_decode(text[start:])[0]
        except ValueError:
            raise CommandError(f"daytwo {' '.join(arguments)}: {' '.join(text.split())[-300:]}") from None

    def _check(self, sentence: str, held: bool) -> None:
        self._evidence.check(sentence, held)
        self._say(f"  {'yes' if held else 'NO'}: {sentence}", style="green" if held else "red")

    def _begin(self, title: str) -> None:
        self._begun += 1
        self._say(f"\n{self._begun}/{ACTS} {title}", style="bold")
