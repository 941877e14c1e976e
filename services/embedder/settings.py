"""What can be set about the embedder, read from environment variables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MODELS = ("wordllama-256", "minilm-int8")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    max_windows: int = 64
    """Windows a text may have; a longer text is refused. A window is 1,024 tokens of wordllama-256, 254 of minilm-int8."""
    threads: int = 1
    """Threads that compute one MiniLM embedding."""
    preload: tuple[str, ...] = ()
    """Models loaded at the start; others at their first use."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Settings:
        """Raises ValueError that names the variable and what it takes."""
        preload = tuple(name for name in env.get("DAYTWO_EMBEDDER_PRELOAD", "").replace(",", " ").split())
        for name in preload:
            if name not in MODELS:
                raise ValueError(f"DAYTWO_EMBEDDER_PRELOAD: {name!r} is none of {', '.join(MODELS)}")
        return cls(
            max_windows=_whole(env, "DAYTWO_EMBEDDER_MAX_WINDOWS", default=64, highest=4096),
            threads=_whole(env, "DAYTWO_EMBEDDER_THREADS", default=1, highest=64),
            preload=preload,
        )


def _whole(env: Mapping[str, str], name: str, *, default: int, highest: int) -> int:
    text = env.get(name) or str(default)
    if not text.isdecimal() or not 1 <= int(text) <= highest:
        raise ValueError(f"{name}={text!r}: needs a whole number from 1 to {highest}")
    return int(text)
