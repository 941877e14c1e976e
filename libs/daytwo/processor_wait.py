"""How long this process waits for a processor whenever it has something to do: what a machine with too much to do adds to every step."""

from __future__ import annotations

from pathlib import Path
from typing import Final, NamedTuple

SCHEDSTAT: Final = Path("/proc/self/schedstat")
LOOKS_EVERY_S: Final = 0.25
SMOOTHED: Final = 0.25
"""Share of the newest look: a second, more or less, is what counts, and not a moment."""


class _Seen(NamedTuple):
    waited_ns: int
    turns: int


class ProcessorWait:
    """Of the main thread, which runs the event loop. 0 where the system does not tell.

    Source: Linux, Documentation/scheduler/sched-stats.rst: nanoseconds on a processor, nanoseconds on a run queue, and turns.
    """

    def __init__(self, schedstat: Path = SCHEDSTAT) -> None:
        self._schedstat = schedstat
        self._seen: _Seen | None = None
        self._looks_again_s = float("-inf")
        self._of_late_s = 0.0

    def of_late_s(self, now_s: float) -> float:
        """Seconds a turn, as it was lately. `now_s`: monotonic; asked often, it looks only four times a second."""
        if now_s >= self._looks_again_s:
            self._looks_again_s = now_s + LOOKS_EVERY_S
            self._look()
        return self._of_late_s

    def _look(self) -> None:
        try:
            _, waited_ns, turns = map(int, self._schedstat.read_text().split())
        except (OSError, ValueError):
            return
        before, self._seen = self._seen, _Seen(waited_ns, turns)
        if before is not None and turns > before.turns:
            now_s = (waited_ns - before.waited_ns) / (turns - before.turns) / 1e9
            self._of_late_s += (now_s - self._of_late_s) * SMOOTHED
