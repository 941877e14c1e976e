"""Many runs, in child processes: on every core, and so that what a dead process left behind is never tidied up by an interpreter.

Children are forked from a server that has everything imported and one thread, and run a few dozen runs each.
"""

from __future__ import annotations

import gc
import logging
import multiprocessing
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import Any, Final, TypeVar

A = TypeVar("A")
B = TypeVar("B")

PER_CHILD: Final = 25


def in_children(work: Callable[[A], B], arguments: Sequence[A], *, per_child: int = PER_CHILD, cores: int | None = None) -> Iterator[B]:
    """`work` of each argument, in their order. `work` is a function of a module, and what it takes and gives pickles."""
    server = multiprocessing.get_context("forkserver")
    server.set_forkserver_preload(["pytest", "tests.simulation.run", "tests.simulation.sabotage"])
    jobs = iter([(work, arguments[first : first + per_child]) for first in range(0, len(arguments), per_child)])
    workers = cores or os.cpu_count() or 1
    with ProcessPoolExecutor(workers, mp_context=server, max_tasks_per_child=1) as pool:
        # A few at a time: whoever has seen enough and stops does not wait for the rest.
        waiting = deque(pool.submit(_chunk, job) for job in islice(jobs, workers + 1))
        while waiting:
            results = waiting.popleft().result()
            waiting.extend(pool.submit(_chunk, job) for job in islice(jobs, 1))
            yield from results


def _chunk(job: tuple[Callable[[Any], Any], Sequence[Any]]) -> list[Any]:
    work, arguments = job
    logging.disable(logging.CRITICAL)
    gc.disable()
    return [work(argument) for argument in arguments]
