"""Asks the questions of the script, some at a time, and writes down what came of each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Final

from daytwo.client import Client, ClientError, NotConnectedError
from deploy.demo.board import Board
from deploy.demo.knowledge import Document
from deploy.demo.row import Act, Row, lost, row_of
from deploy.demo.script import COLLECTION, MANNERS, Line
from deploy.demo.verdict import Evidence

AT_ONCE: Final = 4
"""As many as the local model answers at the same time; more would only wait in it."""
DOCUMENTS_AT_ONCE: Final = 12
TIMEOUT_S: Final = 60.0
"""Deadline of a question, and the longest wait for a document."""
TOLD_EVERY: Final = 30


class Player:
    """One client a tenant. Nothing in here waits longer than a deadline and the client's grace."""

    def __init__(self, clients: Mapping[str, Client], board: Board, evidence: Evidence) -> None:
        self._clients = clients
        self._board = board
        self._evidence = evidence
        self._room = asyncio.Semaphore(AT_ONCE)

    async def play(self, act: Act, lines: Iterable[Line]) -> list[Row]:
        """All of them, in this order as far as there is room."""
        return await asyncio.gather(*[self.ask(act, line) for line in lines])

    async def ask(self, act: Act, line: Line) -> Row:
        """Raises NotConnectedError where no further question makes sense."""
        async with self._room:
            number = self._board.asked(line)
            self._evidence.asked += 1
            started = time.monotonic()
            try:
                row = await self._asked(act, line, started)
            except NotConnectedError:
                raise
            except ClientError as error:
                row = lost(act, line, str(error), _ms_since(started))
            self._evidence.rows.append(row)
            self._board.ended(number, row)
            return row

    async def _asked(self, act: Act, line: Line, started: float) -> Row:
        manner = MANNERS[line.tenant]
        result = await self._clients[line.tenant].ask(
            [{"role": "system", "content": manner.instruction}, {"role": "user", "content": line.text}],
            check=False,
            session=line.session,
            max_tokens=manner.max_tokens,
            temperature=0.0,
            grounding=manner.grounding,
            timeout=TIMEOUT_S,
            metadata={"act": act},
        )
        return row_of(act, line, result, _ms_since(started))

    async def add_documents(self, tenant: str, documents: Iterable[Document]) -> None:
        """Returns when each is indexed or is known not to be."""
        room = asyncio.Semaphore(DOCUMENTS_AT_ONCE)

        async def add(document: Document) -> None:
            async with room:
                await self._add(self._clients[tenant], document)

        await asyncio.gather(*[add(document) for document in documents])

    async def _add(self, client: Client, document: Document) -> None:
        try:
            result = await client.add_document(
                document.source,
                document.content,
                COLLECTION,
                check=False,
                title=document.title,
                media_type="text/markdown",
                category="python",
                timeout=TIMEOUT_S,
            )
        except NotConnectedError:
            raise
        except ClientError as error:
            self._evidence.documents_missing.append(f"{document.source} ({error})")
            return
        if result.reason != "ok":
            self._evidence.documents_missing.append(f"{document.source} ({result.reason}: {result.detail})")
            return
        self._evidence.documents += 1
        if self._evidence.documents % TOLD_EVERY == 0:
            self._board.say(f"  {self._evidence.documents} documents are indexed")


def _ms_since(started: float) -> float:
    return (time.monotonic() - started) * 1000
