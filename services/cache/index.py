"""Which answers there are: by question and by meaning, in memory, tenant by tenant. The answers themselves are elsewhere."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Final, NamedTuple

from daytwo.records import AnswerLearned, Vector
from services.cache.vectors import VectorSpace, unit

EVICTED_PER_CALL: Final = 8
MOST_FORGOTTEN: Final = 65_536
Space = tuple[str, str, str, int]
"""Scope, vector model, its version, dimension: only within one are vectors compared."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A known answer. Times are epoch milliseconds."""

    answer_id: str
    question: str
    learned_at_ms: int
    expires_at_ms: int
    space: Space | None
    label: int


class Neighbour(NamedTuple):
    entry: Entry
    similarity: float


class TenantIndex:
    """The answers of one tenant. Nothing here knows another."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self._labelled: dict[int, Entry] = {}
        self._spaces: dict[Space, VectorSpace] = {}
        self._expiring: list[tuple[int, str, int]] = []
        self._next_label = 0

    def put(self, answer: AnswerLearned) -> Entry | None:
        """Takes an answer in place of an earlier one to its question, which it returns."""
        replaced = self.remove(answer.question)
        row = unit(answer.vector) if answer.single_turn and answer.vector is not None else None
        space = None if row is None or answer.vector is None else _space(answer.scope, answer.vector)
        self._next_label += 1
        entry = Entry(answer.answer_id, answer.question, answer.learned_at_ms, answer.expires_at_ms, space, self._next_label)
        self.entries[entry.question] = entry
        if row is not None and space is not None:
            self._labelled[entry.label] = entry
            self._spaces.setdefault(space, VectorSpace(len(row))).add(entry.label, row)
        self._push(entry)
        return replaced

    def remove(self, question: str) -> Entry | None:
        entry = self.entries.pop(question, None)
        if entry is not None and entry.space is not None:
            del self._labelled[entry.label]
            space = self._spaces[entry.space]
            space.remove(entry.label)
            if not len(space):
                del self._spaces[entry.space]
        return entry

    def near(self, scope: str, vector: Vector, count: int) -> list[Neighbour]:
        space = self._spaces.get(_space(scope, vector))
        row = None if space is None else unit(vector)
        if space is None or row is None:
            return []
        return [Neighbour(self._labelled[label], similarity) for label, similarity in space.nearest(row, count)]

    def evict(self, now_ms: int, most: int, limit: int) -> list[Entry]:
        """Removes up to `limit` entries that have expired or, soonest to expire first, are more than `most`."""
        evicted: list[Entry] = []
        while self._expiring and len(evicted) < limit:
            expires_at_ms, question, label = self._expiring[0]
            entry = self.entries.get(question)
            current = entry is not None and entry.label == label
            if current and expires_at_ms > now_ms and len(self.entries) <= most:
                break
            heapq.heappop(self._expiring)
            if current and (gone := self.remove(question)) is not None:
                evicted.append(gone)
        return evicted

    def _push(self, entry: Entry) -> None:
        heapq.heappush(self._expiring, (entry.expires_at_ms, entry.question, entry.label))
        if len(self._expiring) > 2 * len(self.entries) + 64:  # what was replaced, mostly
            self._expiring = [(e.expires_at_ms, e.question, e.label) for e in self.entries.values()]
            heapq.heapify(self._expiring)


class AnswerIndex:
    """The answers of all tenants, of each at most `most_per_tenant`."""

    def __init__(self, most_per_tenant: int) -> None:
        self._most = most_per_tenant
        self._tenants: dict[str, TenantIndex] = {}
        self._forgotten: dict[tuple[str, str], None] = {}

    def __len__(self) -> int:
        return sum(len(tenant.entries) for tenant in self._tenants.values())

    def put(self, answer: AnswerLearned, now_ms: int) -> Entry | None:
        """Takes an answer; one that has expired only removes what was known before. Returns what it replaced."""
        self._forgotten.pop((answer.tenant, answer.question), None)
        if answer.expires_at_ms <= now_ms:
            self._forget(answer.tenant, answer.question)
            return self.remove(answer.tenant, answer.question)
        replaced = self._tenants.setdefault(answer.tenant, TenantIndex()).put(answer)
        self._evict(answer.tenant, now_ms)
        return replaced

    def remove(self, tenant: str, question: str) -> Entry | None:
        index = self._tenants.get(tenant)
        return None if index is None else index.remove(question)

    def tombstone(self, tenant: str, question: str) -> Entry | None:
        """The topic has forgotten the answer, so need not be told."""
        self._forgotten.pop((tenant, question), None)
        return self.remove(tenant, question)

    def exact(self, tenant: str, question: str, now_ms: int) -> Entry | None:
        self._evict(tenant, now_ms)
        index = self._tenants.get(tenant)
        entry = None if index is None else index.entries.get(question)
        return entry if entry is not None and entry.expires_at_ms > now_ms else None

    def near(self, tenant: str, scope: str, vector: Vector, count: int = 8) -> list[Neighbour]:
        """The nearest single-turn answers of this tenant, in this scope, of this vector model and version; expired ones too."""
        index = self._tenants.get(tenant)
        return [] if index is None else index.near(scope, vector, count)

    def take_forgotten(self, most: int, *, but: tuple[str, str]) -> list[tuple[str, str]]:
        """(tenant, question) of answers that went and that the topic still has, each once; never `but`, which is being learned."""
        self._forgotten.pop(but, None)
        taken = [key for key, _ in zip(self._forgotten, range(most), strict=False)]
        for key in taken:
            del self._forgotten[key]
        return taken

    def _evict(self, tenant: str, now_ms: int) -> None:
        if (index := self._tenants.get(tenant)) is not None:
            for entry in index.evict(now_ms, self._most, EVICTED_PER_CALL):
                self._forget(tenant, entry.question)
            if not index.entries:
                del self._tenants[tenant]

    def _forget(self, tenant: str, question: str) -> None:
        if len(self._forgotten) < MOST_FORGOTTEN:  # the rest is noticed at the next start
            self._forgotten[tenant, question] = None


def _space(scope: str, vector: Vector) -> Space:
    return scope, vector.model, vector.version, vector.dimension
