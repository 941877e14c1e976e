"""Promises that can be broken on purpose, to see that the harness tells. Each takes the module of the service that starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from daytwo.progress import Progress


def commit_before_acknowledgement(module: str) -> None:
    """The offset moves past whatever was read."""

    def everything_read(self: Progress) -> int:
        return self._next

    Progress.committable = everything_read  # type: ignore[method-assign]


def forget_the_journal(module: str) -> None:
    """A router that starts does not read what was bought before."""
    if module != "inference_router":
        return
    from services.inference_router.journal import Journal

    def nothing(self: Journal, *_: Any) -> None:
        return None

    Journal.load = nothing  # type: ignore[method-assign,assignment]


SABOTAGES: Mapping[str, Callable[[str], None]] = {
    "commit-before-acknowledgement": commit_before_acknowledgement,
    "forget-the-journal": forget_the_journal,
}
