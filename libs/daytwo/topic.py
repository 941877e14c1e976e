"""What a topic is. The topics themselves are in `topics.py`, generated from `schemas/topics.yaml`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, Self, TypeVar, dataclass_transform

C = TypeVar("C")


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(field,))
def record(cls: type[C]) -> type[C]:
    """A dataclass of named arguments that nobody changes. The type checker sees to that: a frozen dataclass takes five times as long to
    make, and a service makes thousands of records a second.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


class Record(Protocol):
    """A generated record: it turns into what Avro writes and back."""

    @classmethod
    def from_avro(cls, value: Mapping[str, Any]) -> Self: ...

    def to_avro(self) -> dict[str, Any]: ...

    def to_bytes(self) -> bytes: ...


R = TypeVar("R", bound=Record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic(Generic[R]):
    """A topic and its one record. `retention_hours` is None for a compacted topic; `max_bytes` bounds a record."""

    name: str
    record: type[R]
    key: Callable[[R], str]
    schema_id: int
    partitions: int
    retention_hours: int | None
    max_bytes: int
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    why: str

    @property
    def compacted(self) -> bool:
        return self.retention_hours is None

    def settings(self) -> dict[str, str]:
        """The topic's settings in Kafka."""
        if self.retention_hours is None:
            kept = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.1", "segment.ms": "3600000"}
        else:
            kept = {"cleanup.policy": "delete", "retention.ms": str(self.retention_hours * 3_600_000)}
        # Room for the batch's own header beside the largest record.
        return {**kept, "max.message.bytes": str(self.max_bytes + 65_536)}
