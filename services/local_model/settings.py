"""What can be set about the local model, read from environment variables."""

import os
from collections.abc import Mapping
from dataclasses import dataclass


class SettingsError(ValueError):
    """A setting that cannot be used; the message names the variable and what it takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the local model is served.

    `slots` requests are answered at once, each with `context` tokens for its prompt and answer together;
    `threads` compute them all. Memory grows by about 23 kB for each of `slots * context` tokens.
    """

    host: str
    port: int
    slots: int
    threads: int
    context: int


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from `environment`; what is absent or empty has its default. Raises SettingsError."""
    return Settings(
        host=environment.get("DAYTWO_HOST") or "127.0.0.1",
        port=_whole(environment, "DAYTWO_HTTP_PORT", default=8090, lowest=0, highest=65_535),
        slots=_whole(environment, "DAYTWO_MODEL_SLOTS", default=4, lowest=1, highest=256),
        threads=_whole(environment, "DAYTWO_MODEL_THREADS", default=_usable_cores(), lowest=1, highest=256),
        # The model was trained on 8,192 tokens; beyond them it only babbles.
        context=_whole(environment, "DAYTWO_MODEL_CONTEXT", default=2048, lowest=128, highest=8192),
    )


def _usable_cores() -> int:
    """Cores this process may use, which in a container is less than the machine has."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _whole(environment: Mapping[str, str], name: str, *, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name) or str(default)
    try:
        value = int(text)
    except ValueError:
        raise SettingsError(f"{name}={text!r}: needs a whole number") from None
    if not lowest <= value <= highest:
        raise SettingsError(f"{name}={value}: needs to be between {lowest} and {highest}")
    return value
