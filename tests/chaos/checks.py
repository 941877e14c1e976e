"""What must be true once the faults are over: each check says what is wrong, or nothing."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from daytwo.audit import Reading, View
from daytwo.clock import SystemClock
from daytwo.codec import decode
from daytwo.errors import RetryableError
from daytwo.kafka import KafkaBroker
from daytwo.topics import DOCUMENT_FINISHED
from tests.chaos.load import Sent
from tests.chaos.site import Site

BACKLOG_S = 60.0
SETTLE_S = 20.0


@dataclass(slots=True, kw_only=True)
class Verdict:
    """`wrong`: by check, what contradicts it. `outcomes`: of the first results, by tenant; with its reason what is not ok."""

    backlog_s: float = 0.0
    wrong: dict[str, list[str]] = field(default_factory=dict)
    outcomes: dict[str, dict[str, int]] = field(default_factory=dict)
    audited: Mapping[str, Any] = field(default_factory=dict)

    @property
    def clean(self) -> bool:
        return not any(self.wrong.values())


async def judge(site: Site, sent: Sent, *, backlog_s: float = BACKLOG_S, settle_s: float = SETTLE_S) -> Verdict:
    """Waits until nothing is open, at most `backlog_s`, then looks at everything; at most `settle_s` longer for the ledger."""
    began = time.monotonic()
    view, documents = View(), set[tuple[str, str]]()
    reading = _Log(site, view, documents)
    await reading.start()
    while True:
        await reading.catch_up()
        missing = _missing(view, documents, sent)
        lag = await _lag(site)
        if not (missing or any(lag.values())) or time.monotonic() - began > backlog_s:
            break
        await asyncio.sleep(0.5)
    verdict = Verdict(backlog_s=round(time.monotonic() - began, 1))
    verdict.wrong["every id that was sent has a result"] = missing
    verdict.wrong["nothing is left to read"] = [f"{topic}: {count}" for topic, count in lag.items() if count]
    verdict.audited = await asyncio.to_thread(_audited, site, settle_s)
    verdict.wrong["the audit is clean, with ledger and bill"] = [
        f"{v['rule']}: {' '.join(v['ids'])}: {v['detail']}" for v in verdict.audited["violations"]
    ]
    await reading.catch_up()
    await reading.stop()
    for (tenant, _), request in view.requests.items():
        if request.first is not None:
            counts = verdict.outcomes.setdefault(tenant, {})
            outcome = request.first.outcome if request.first.reason == "ok" else f"{request.first.outcome} {request.first.reason}"
            counts[outcome] = counts.get(outcome, 0) + 1
    return verdict


class _Log:
    """The log as the audit reads it, and the ends of documents."""

    def __init__(self, site: Site, view: View, documents: set[tuple[str, str]]) -> None:
        broker = KafkaBroker(site.where["kafka"])
        self._reader, self._tail = broker.reader(), broker.reader()
        self._reading = Reading(self._reader, view, SystemClock())
        self._documents = documents

    async def start(self) -> None:
        await self._reader.start()
        await self._tail.start()
        await self._tail.seek(dict.fromkeys(await self._tail.partitions(DOCUMENT_FINISHED.name)))

    async def stop(self) -> None:
        await self._reader.stop()
        await self._tail.stop()

    async def catch_up(self) -> None:
        await self._reading.catch_up()
        for raw in await self._tail.read(0.5):
            ended = decode(DOCUMENT_FINISHED, raw.value or b"")
            self._documents.add((ended.tenant, ended.document_id))


def _missing(view: View, documents: set[tuple[str, str]], sent: Sent) -> list[str]:
    requests = [key for key in sent.requests if key not in view.requests or view.requests[key].first is None]
    return sorted("/".join(key) for key in (*requests, *(sent.documents - documents)))


async def _lag(site: Site) -> dict[str, int]:
    """Records that are not committed, by service and topic."""
    told = json.loads((await asyncio.to_thread(site.command, "status", "--json")).stdout)
    return {f"{service} {topic}": lag for service, of in told["services"].items() for topic, lag in of["topics"].items()}


def _audited(site: Site, settle_s: float) -> Mapping[str, Any]:
    bill = site.where["mock_provider"].removesuffix("/v1") + "/bill"
    done = site.command("audit", "--json", "--settle", f"{settle_s:g}s", "--bill", bill)
    try:
        found: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise RetryableError("store_unavailable", f"the audit said: {done.stderr[-500:]}") from None
    return found
