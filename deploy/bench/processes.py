"""What processes use: memory, and processor time between two moments. Children count as their parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress

import psutil

Times = Mapping[str, float]
"""Seconds of processor time by program."""


def cpu_s(pids: Mapping[str, int]) -> dict[str, float]:
    """Processor time of each program so far."""
    return {name: sum(_cpu_s(process) for process in _family(pid)) for name, pid in pids.items()}


def used(before: Times, after: Times) -> dict[str, float]:
    """Seconds between two moments, of the programs that were there at both."""
    return {name: after[name] - before[name] for name in before if name in after}


def memory_mib(pids: Mapping[str, int]) -> dict[str, float]:
    """Memory of each program: what it has alone and its share of what it has with others (PSS), or RSS where that is unknown."""
    return {name: round(sum(_memory(process) for process in _family(pid)) / 2**20, 1) for name, pid in pids.items()}


def _family(pid: int) -> Iterator[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        yield process
        yield from process.children(recursive=True)


def _cpu_s(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0


def _memory(process: psutil.Process) -> int:
    with suppress(psutil.NoSuchProcess):
        full = process.memory_full_info()
        return int(getattr(full, "pss", 0) or full.rss)
    return 0
