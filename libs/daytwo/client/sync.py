"""The client for scripts: the same methods, without `await`. An event loop in a thread of its own does the work."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

from daytwo.client.client import Client, Session
from daytwo.client.errors import NotConnectedError
from daytwo.client.input import DocumentFields, Question, RequestFields
from daytwo.records import DocumentFinished, RequestFinished

T = TypeVar("T")


class SyncClient:
    """Takes the arguments of `Client`; use it in `with`. Its methods may be called from any thread."""

    def __init__(self, bootstrap: str = "127.0.0.1:9092", *, tenant: str, **options: Any) -> None:
        self._client = Client(bootstrap, tenant=tenant, **options)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="daytwo-client", daemon=True)
        self._thread.start()
        try:
            self._run(self._client.__aenter__())
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        try:
            self._run(self._client.close())
        finally:
            self._stop()

    def ask(self, question: Question, *, check: bool = True, **fields: Unpack[RequestFields]) -> RequestFinished:
        return self._run(self._client.ask(question, check=check, **fields))

    def submit(self, question: Question, **fields: Unpack[RequestFields]) -> str:
        return self._run(self._client.submit(question, **fields))

    def result(self, request_id: str, *, check: bool = True, timeout: float | None = None) -> RequestFinished:
        return self._run(self._client.result(request_id, check=check, timeout=timeout))

    def results(self) -> Iterator[RequestFinished]:
        stream = self._client.results()
        while (result := self._run(_next(stream))) is not None:
            yield result

    def add_document(
        self, source: str, content: str | bytes, collection: str, *, check: bool = True, **fields: Unpack[DocumentFields]
    ) -> DocumentFinished:
        return self._run(self._client.add_document(source, content, collection, check=check, **fields))

    def remove_document(self, source: str, collection: str, *, check: bool = True, **fields: Unpack[DocumentFields]) -> DocumentFinished:
        return self._run(self._client.remove_document(source, collection, check=check, **fields))

    def session(self, session: str = "", *, user: str = "", workflow: str = "", agent: str = "") -> SyncSession:
        return SyncSession(self, self._client.session(session, user=user, workflow=workflow, agent=agent))

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            work.close()
            raise NotConnectedError("the client is not open: use it in `with SyncClient(...) as daytwo:`")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # for Ctrl-C: what nobody waits for any more is not waited for
            raise

    def _stop(self) -> None:
        loop, self._loop = self._loop, None
        if loop is not None and self._thread is not None:
            loop.call_soon_threadsafe(loop.stop)
            self._thread.join()
            loop.close()


class SyncSession:
    """Requests of one conversation, or of one workflow."""

    def __init__(self, client: SyncClient, session: Session) -> None:
        self._client = client
        self._session = session

    @property
    def name(self) -> str:
        return self._session.name

    def ask(self, question: Question, *, check: bool = True, **fields: Unpack[RequestFields]) -> RequestFinished:
        return self._client._run(self._session.ask(question, check=check, **fields))

    def submit(self, question: Question, **fields: Unpack[RequestFields]) -> str:
        return self._client._run(self._session.submit(question, **fields))


async def _next(stream: Any) -> RequestFinished | None:
    result: RequestFinished | None = await anext(stream, None)
    return result
