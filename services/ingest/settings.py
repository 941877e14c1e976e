"""What can be set about ingest, read from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_ACCEPTED
from services.ingest.chunks import ChunkRules
from services.ingest.shedding import SheddingRules

_RULES: Final = ChunkRules()
_SHEDDING: Final = SheddingRules()
# Later stages add passages and an answer to a request within the same largest record.
_MOST_REQUEST_BYTES: Final = REQUEST_ACCEPTED.max_bytes * 3 // 4


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable and what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The limits of what is taken in. Sizes are bytes of a record's value."""

    max_request_bytes: int = 1 << 20
    max_messages: int = 1000
    max_document_bytes: int = 8 << 20
    chunk_rules: ChunkRules = field(default_factory=ChunkRules)
    splitters: int = 2
    """Processes that split documents at the same time; each starts when it is first needed."""
    shedding: SheddingRules = field(default_factory=SheddingRules)

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Settings from `env`; what is absent or empty has its default. Raises SettingsError."""
        tokens = _whole(env, "DAYTWO_INGEST_CHUNK_TOKENS", _RULES.tokens, 16, 4096)
        return cls(
            max_request_bytes=_whole(env, "DAYTWO_INGEST_MAX_REQUEST_BYTES", 1 << 20, 1024, _MOST_REQUEST_BYTES),
            max_messages=_whole(env, "DAYTWO_INGEST_MAX_MESSAGES", 1000, 1, 100_000),
            max_document_bytes=_whole(env, "DAYTWO_INGEST_MAX_DOCUMENT_BYTES", 8 << 20, 1024, DOCUMENT_SUBMITTED.max_bytes),
            chunk_rules=ChunkRules(
                tokens=tokens,
                overlap=_whole(env, "DAYTWO_INGEST_CHUNK_OVERLAP", min(_RULES.overlap, tokens // 2), 0, tokens // 2),
                most=_whole(env, "DAYTWO_INGEST_MAX_CHUNKS", _RULES.most, 1, 1_000_000),
            ),
            splitters=_whole(env, "DAYTWO_INGEST_SPLITTERS", 2, 1, 64),
            shedding=_shedding(env),
        )


def _shedding(env: Mapping[str, str]) -> SheddingRules:
    percent = _whole(env, "DAYTWO_INGEST_SHED_DEADLINE_PERCENT", round(_SHEDDING.deadline_share * 100), 1, 100)
    return SheddingRules(
        enabled=_whole(env, "DAYTWO_INGEST_SHED", 1, 0, 1) == 1,
        deadline_share=percent / 100,
        target_ms=_whole(env, "DAYTWO_INGEST_SHED_TARGET_MS", _SHEDDING.target_ms, 100, 3_600_000),
        patience_ms=_whole(env, "DAYTWO_INGEST_SHED_PATIENCE_MS", _SHEDDING.patience_ms, 1_000, 3_600_000),
    )


def _whole(env: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = env.get(name) or str(default)
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r}: needs a whole number") from None
    if not lowest <= value <= highest:
        raise SettingsError(f"{name}={value}: needs to be between {lowest} and {highest}")
    return value
