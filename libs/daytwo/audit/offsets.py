"""Committed offsets against the log: what is before a group's offset is done, so what follows from it is on the log. Pure.

Records are told apart by headers and keys, nothing is decoded: it may be asked at any moment of any log.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from daytwo.audit.invariants import Violation
from daytwo.broker import Partition, Raw
from daytwo.fate import DOCUMENT_ID_HEADER, NOT_FOR_HEADER, REQUEST_ID_HEADER

FOLLOWS: Final[Mapping[tuple[str, str], tuple[str, ...]]] = {
    ("ingest", "request-submitted"): ("request-accepted", "request-finished"),
    ("cost-meter", "request-accepted"): ("request-admitted", "request-waiting", "request-finished"),
    ("cost-meter", "request-waiting"): ("request-admitted", "request-waiting", "request-finished"),
    ("embedder", "request-admitted"): ("request-embedded", "request-finished"),
    ("cache", "request-embedded"): ("request-missed", "request-grounded", "request-waiting", "request-finished"),
    ("retriever", "request-missed"): ("request-grounded", "request-finished"),
    ("inference-router", "request-admitted"): ("request-waiting", "request-finished"),
    ("inference-router", "request-grounded"): ("request-waiting", "request-finished"),
    ("ingest", "document-submitted"): ("chunk-accepted", "document-finished"),
    ("embedder", "chunk-accepted"): ("chunk-embedded", "document-finished"),
}
"""Group and topic it reads: where an output of each record lies, unless the record has a dead letter."""


class Outputs:
    """What is on the log, by topic: enough to say what became of a record."""

    def __init__(self, raws: Iterable[Raw] = ()) -> None:
        self._there: dict[str, dict[str, int]] = defaultdict(dict)
        """By topic and name the last offset: what is of one request lies in one partition."""
        for raw in raws:
            self.take(raw)

    def take(self, raw: Raw) -> None:
        self._there[raw.topic][_text(raw.key) if raw.topic == "dead-letter" else _name(raw)] = raw.offset

    def unfinished(self, group: str, raw: Raw) -> bool:
        """True: the group has nothing to show for the record. One without a header to know it by must have a dead letter."""
        followers = FOLLOWS.get((group, raw.topic))
        if followers is None or _text(raw.headers.get(NOT_FOR_HEADER)) == group:
            return False
        if f"{raw.topic}/{raw.partition}/{raw.offset}" in self._there["dead-letter"]:
            return False
        name = _name(raw)
        return not name or not any(self._follows(topic, name, raw) for topic in followers)

    def _follows(self, topic: str, name: str, raw: Raw) -> bool:
        offset = self._there[topic].get(name)
        return offset is not None and (topic != raw.topic or offset > raw.offset)


def passed_over(
    logs: Mapping[Partition, list[Raw]], committed: Mapping[tuple[str, Partition], int], outputs: Outputs
) -> Iterator[Violation]:
    """Records before a committed offset that have no outputs. `committed` are offsets by group and partition."""
    for (group, partition), offset in committed.items():
        for raw in logs[partition][:offset]:
            if outputs.unfinished(group, raw):
                yield unfinished(group, raw, offset)


def unfinished(group: str, raw: Raw, offset: int) -> Violation:
    place = f"{raw.topic}/{raw.partition}/{raw.offset}"
    return Violation(
        rule="passed_over", ids=(_name(raw) or place, group), detail=f"{group} has committed {offset} and {place} has no output"
    )


def _name(raw: Raw) -> str:
    return _text(raw.headers.get(REQUEST_ID_HEADER) or raw.headers.get(DOCUMENT_ID_HEADER))


def _text(data: bytes | None) -> str:
    return (data or b"").decode("utf-8", "replace")
