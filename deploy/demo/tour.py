"""The acts of the demo, from the configuration to the audit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from daytwo.client import Client
from deploy.demo.board import Board, duration
from deploy.demo.knowledge import documents
from deploy.demo.player import Player
from deploy.demo.row import Row
from deploy.demo.script import HELPDESK, MANNERS, OUTAGE, RETURN, STRICT, Line, first_round, second_round
from deploy.demo.stage import Stage
from deploy.demo.verdict import Evidence

FOLLOW_S: Final = 2.0
"""Services follow the configuration within milliseconds; nothing tells a client when each of them has."""
RETURN_PAUSE_S: Final = 2.0
ACTS: Final = 7


class Tour:
    def __init__(self, stage: Stage, board: Board, evidence: Evidence) -> None:
        self._stage = stage
        self._board = board
        self._evidence = evidence
        self._begun = 0

    async def run(self) -> None:
        """Every act, in order. Raises CommandError and NotConnectedError where going on makes no sense."""
        self._begin("Tenants, models and prices: daytwo apply deploy/demo/daytwo.yaml")
        self._board.say(f"  {await self._stage.apply()}")
        await asyncio.sleep(FOLLOW_S)
        async with AsyncExitStack() as open_clients:
            clients = {tenant: await open_clients.enter_async_context(Client(self._stage.kafka, tenant=tenant)) for tenant in MANNERS}
            player = Player(clients, self._board, self._evidence)
            await self._load(player)
            await self._questions(player)
            await self._budget(player)
            await self._outage(player)
            await self._return(player)
        await self._audit()

    async def _load(self, player: Player) -> None:
        self._begin("Documents: the standard library of this Python, for the tenant manual")
        started = time.monotonic()
        found = await asyncio.to_thread(lambda: list(documents()))
        await player.add_documents("manual", found)
        indexed = self._evidence.documents
        self._board.say(f"  {indexed} of {len(found)} documents are indexed after {duration((time.monotonic() - started) * 1000)}")

    async def _questions(self, player: Player) -> None:
        self._begin("Questions: each once, then in other words and again")
        with self._board.table():
            await player.play("questions", first_round())
            await player.play("questions", second_round())

    async def _budget(self, player: Player) -> None:
        self._begin("Budget: the tenant strict asks until its money is used up, then something it asked before, then something new")
        with self._board.table():
            over = await self._ask_until_refused(player, STRICT[:-1])
            await player.ask("budget", _line("strict", STRICT[0]))
            last = await player.ask("budget", _line("strict", STRICT[-1]))
        if over is not None:
            self._board.say(f"  over budget: {last.detail or over.detail}; {_renewal(last)}")

    async def _ask_until_refused(self, player: Player, questions: Sequence[str]) -> Row | None:
        for text in questions:
            row = await player.ask("budget", _line("strict", text))
            if not row.is_answered:
                return row
        return None

    async def _outage(self, player: Player) -> None:
        self._begin("Outage: the local model is stopped; new questions go to the fallback, known ones to the cache")
        await self._stage.stop_model()
        with self._board.table():
            await player.play("outage", [_line("helpdesk", text) for text in (*OUTAGE, HELPDESK[0].question)])

    async def _return(self, player: Player) -> None:
        self._begin("Return: the local model is started again")
        await self._stage.start_model()
        with self._board.table():
            for text in RETURN:
                row = await player.ask("return", _line("helpdesk", text))
                if row.deployment == "local" or row.outcome == "lost":
                    return
                await asyncio.sleep(RETURN_PAUSE_S)

    async def _audit(self) -> None:
        self._begin("Audit: daytwo audit --json")
        audit = self._evidence.audit = await self._stage.audit()
        self._board.say("  " + ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in _shown(audit["counts"]).items()))
        for violation in audit["violations"]:
            self._board.say(f"  {violation['rule']}: {violation['detail']} {' '.join(violation['ids'])}", style="red")
        self._board.say("  clean: every promise is kept" if audit["clean"] else "  not clean", style="green" if audit["clean"] else "red")

    def _begin(self, title: str) -> None:
        self._begun += 1
        self._board.say(f"\n{self._begun}/{ACTS} {title}", style="bold")


def _line(tenant: str, text: str) -> Line:
    return Line(tenant=tenant, session=f"{tenant}-1", text=text)


def _renewal(row: Row) -> str:
    if row.retry_after_ms is None:
        return "it does not renew"
    at = datetime.now(UTC) + timedelta(milliseconds=row.retry_after_ms)
    return f"the cap renews in {row.retry_after_ms / 60_000:.0f} min, at {at:%H:%M} UTC"


def _shown(counts: dict[str, Any]) -> dict[str, Any]:
    """What is there, and what must not be."""
    return {name: count for name, count in counts.items() if count or name in ("lost", "open")}
