"""The cache's Redis and Milvus as twins: the fakes that the contract suites hold to the real ones, reached over the network."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from daytwo.errors import RetryableError
from daytwo.records import AnswerLearned, ChunkEmbedded
from services.cache.ports import Flight, Recalled, Watched
from services.retriever.ports import Hit, Scope, SourceKey, Space, Stored
from tests.cache.fake_answers import FakeAnswers
from tests.retriever.fake_index import FakeIndex
from tests.simulation.network import Network, at_once

T = TypeVar("T")


class Remote:
    """What is behind the network; `away`: it does not answer."""

    def __init__(self, network: Network, name: str) -> None:
        self.away = False
        self._network = network
        self._name = name

    async def call(self, what: str, work: Callable[[], Coroutine[Any, Any, T]], *, patience_s: float = 5.0) -> T:
        return await self._network.call(f"{self._name} {what}", lambda: self._answer(work), patience_s=patience_s)

    def _answer(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        if self.away:
            raise RetryableError("store_unavailable", f"{self._name} is away")
        return at_once(work())


class RemoteAnswers:
    def __init__(self, remote: Remote, answers: FakeAnswers) -> None:
        self._remote = remote
        self._answers = answers

    async def recall(self, tenant: str, answer_id: str, request_id: str) -> Recalled:
        return await self._call("recall", lambda: self._answers.recall(tenant, answer_id, request_id))

    async def enter(self, draft: AnswerLearned, *, follow: bool, until_ms: int) -> Flight | None:
        return await self._call("enter", lambda: self._answers.enter(draft, follow=follow, until_ms=until_ms))

    async def watch(self, tenant: str, question: str, leader: str) -> Watched:
        return await self._call("watch", lambda: self._answers.watch(tenant, question, leader))

    async def draft(self, tenant: str, request_id: str) -> AnswerLearned | None:
        return await self._call("draft", lambda: self._answers.draft(tenant, request_id))

    async def end(self, draft: AnswerLearned, *, another: bool) -> None:
        await self._call("end", lambda: self._answers.end(draft, another=another))

    async def keep(self, answers: Sequence[AnswerLearned], gone: Sequence[tuple[str, str]] = ()) -> None:
        if answers or gone:
            await self._call("keep", lambda: self._answers.keep(answers, gone))

    async def _call(self, what: str, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        return await self._remote.call(what, work, patience_s=0.25)


class RemoteIndex:
    def __init__(self, remote: Remote, index: FakeIndex) -> None:
        self._remote = remote
        self._index = index

    async def open(self) -> None:
        await self._remote.call("open", self._index.open)

    async def close(self) -> None:
        return None

    async def upsert(self, chunks: Sequence[ChunkEmbedded]) -> None:
        await self._remote.call("upsert", lambda: self._index.upsert(chunks))

    async def stored(self, sources: Sequence[SourceKey]) -> Sequence[Stored]:
        return await self._remote.call("stored", lambda: self._index.stored(sources))

    async def delete(self, stored: Sequence[Stored]) -> None:
        await self._remote.call("delete", lambda: self._index.delete(stored))

    async def search(self, space: Space, scope: Scope, top_k: int, vectors: Sequence[bytes]) -> Sequence[Sequence[Hit]]:
        return await self._remote.call("search", lambda: self._index.search(space, scope, top_k, vectors))
