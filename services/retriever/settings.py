"""What can be set about the retriever, read from environment variables."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

INDEXES: Final = ("FLAT", "HNSW", "AUTOINDEX")
CONSISTENCIES: Final = ("Strong", "Session", "Bounded", "Eventually")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    uri: str = "http://127.0.0.1:19530"
    token: str = ""
    """user:password, or empty."""
    timeout_s: float = 5.0
    """Longest time of one call of Milvus, seconds."""
    index: str = "FLAT"
    """FLAT is exact. HNSW is faster with millions of chunks on a Milvus server; in Milvus Lite it misses chunks behind a filter."""
    consistency: str = "Strong"
    """Strong: a document is found once it has finished. The others are faster on a Milvus server and promise less."""
    flush_rows: int = 1000
    """Rows in Milvus Lite's memory before they are flushed; 0: never, as a Milvus server does that by itself."""
    flush_s: float = 2.0
    """Seconds after a write before its rows are flushed anyway."""
    searches: int = 2
    """Searches at the same time."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises ValueError that names the variable and what it takes."""
        return cls(
            uri=env.get("DAYTWO_MILVUS") or "http://127.0.0.1:19530",
            token=env.get("DAYTWO_MILVUS_TOKEN", ""),
            timeout_s=_seconds(env, "DAYTWO_MILVUS_TIMEOUT_S", 5.0),
            index=_one_of(env, "DAYTWO_MILVUS_INDEX", INDEXES),
            consistency=_one_of(env, "DAYTWO_MILVUS_CONSISTENCY", CONSISTENCIES),
            flush_rows=_whole(env, "DAYTWO_MILVUS_FLUSH_ROWS", 1000, lowest=0),
            flush_s=_seconds(env, "DAYTWO_MILVUS_FLUSH_S", 2.0),
            searches=_whole(env, "DAYTWO_MILVUS_SEARCHES", 2, lowest=1),
        )


def _one_of(env: Mapping[str, str], name: str, choices: tuple[str, ...]) -> str:
    value = env.get(name) or choices[0]
    if value not in choices:
        raise ValueError(f"{name}={value!r}: needs one of {', '.join(choices)}")
    return value


def _whole(env: Mapping[str, str], name: str, default: int, *, lowest: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or int(text) < lowest:
        raise ValueError(f"{name}={text!r}: needs a whole number of at least {lowest}")
    return int(text)


def _seconds(env: Mapping[str, str], name: str, default: float) -> float:
    text = env.get(name) or str(default)
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name}={text!r}: needs a number of seconds above 0")
    return value
