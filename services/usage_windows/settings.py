"""Settings of usage-windows, from the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    most_subjects: int = 1000
    """DAYTWO_WINDOWS_SUBJECTS: most users (workflows, agents, sessions) of a tenant that are told apart within two weeks."""
    remembered: int = 10_000
    """DAYTWO_WINDOWS_REMEMBERED: requests of a partition that are remembered, so that what is on the log twice counts once."""
    save_ms: int = 500
    """DAYTWO_WINDOWS_SAVE_MS: how often what changed is saved; what was not is counted again after a crash."""

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Raises ValueError naming the variable and what it may be."""
        default = cls()
        return cls(
            most_subjects=_number(env, "DAYTWO_WINDOWS_SUBJECTS", default.most_subjects, most=1_000_000),
            remembered=_number(env, "DAYTWO_WINDOWS_REMEMBERED", default.remembered, most=1_000_000),
            save_ms=_number(env, "DAYTWO_WINDOWS_SAVE_MS", default.save_ms, most=10_000),
        )


def _number(env: Mapping[str, str], name: str, default: int, *, most: int) -> int:
    text = env.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise ValueError(f"{name}: {text!r} is no whole number from 1 to {most}")
    return int(text)
