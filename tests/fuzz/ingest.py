"""Sends any number of hostile records through the real ingest on the real loop and the broker in memory, and accounts for each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

from daytwo.broker import Outgoing, Partition, outgoing
from daytwo.clock import SystemClock
from daytwo.loop import Loop, LoopSettings
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from daytwo.records import DocumentSubmitted
from daytwo.topics import DOCUMENT_SUBMITTED, REQUEST_SUBMITTED
from daytwo.world import World
from services.ingest.chunks import Piece
from services.ingest.service import service
from services.ingest.settings import Settings
from services.ingest.splitting_process import SplittingProcesses, make_chunker
from services.ingest.tokenizer_file import find_tokenizer
from tests.fuzz.corpus import TENANTS
from tests.fuzz.fates import Finding, NotingWorker, Place, check_fits
from tests.fuzz.submissions import submission, timestamp

CHUNK: Final = 10_000
_PATIENCE_S: Final = 600.0
"""So long may one chunk take; a splitter gives a document up after 10 s."""
_MEGABYTE: Final = 1 << 20


@dataclass(slots=True, kw_only=True)
class Account:
    """What became of the records of a run."""

    records: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    findings: list[tuple[int, str]] = field(default_factory=list)
    """Number of the record, and what is wrong."""
    memory: list[int] = field(default_factory=list)
    """Resident MiB of the process after each chunk."""
    seconds: float = 0.0

    def grown(self) -> int:
        """MiB between the first chunk after the warm-up, which is a quarter of the run, and the largest one after it."""
        settled = self.memory[len(self.memory) // 4 :]
        return max(settled) - settled[0]


class CheckedBroker(MemoryBroker):
    """Takes nothing that Kafka would not take."""

    def append(self, record: Outgoing) -> tuple[int, int]:
        check_fits(record)
        return super().append(record)


class LastingSplitter:
    """The real splitting processes, kept over many loops."""

    def __init__(self, processes: SplittingProcesses) -> None:
        self._processes = processes

    async def split(self, document: DocumentSubmitted) -> Sequence[Piece]:
        return await self._processes.split(document)

    async def close(self) -> None:
        return None


async def flood(seed: int, numbers: range, tell: Callable[[Account], None] = lambda account: None) -> Account:
    """Sends the records `numbers` of the run `seed`."""
    settings = Settings()
    processes = SplittingProcesses(partial(make_chunker, settings.chunk_rules, find_tokenizer()), processes=settings.splitters)
    account = Account()
    began = time.monotonic()
    try:
        for start in range(0, len(numbers), CHUNK):
            await _chunk(seed, numbers[start : start + CHUNK], LastingSplitter(processes), account)
            account.memory.append(resident() // _MEGABYTE)
            account.seconds = time.monotonic() - began
            tell(account)
    finally:
        await processes.close()
    return account


async def _chunk(seed: int, numbers: range, splitter: LastingSplitter, account: Account) -> None:
    broker = CheckedBroker(SystemClock())
    for tenant in TENANTS:
        broker.append(outgoing(tenant))
    places = dict(_appended(broker, seed, numbers))
    world, metrics = World(env={}, rng=Random(seed)), Metrics()
    sender = broker.sender()
    loop = Loop(service(Settings(), splitter), broker, world, metrics, sender=sender, settings=LoopSettings(commit_interval_s=0.05))
    loop._worker = worker = NotingWorker(sender, world.clock, world.rng, metrics, loop._group)
    await _run(loop, worker, len(numbers))
    account.records += worker.done
    account.fates += worker.fates
    account.findings += [(places[place], what) for place, what in worker.findings]
    _check_committed(broker)


def _appended(broker: MemoryBroker, seed: int, numbers: range) -> Iterator[tuple[Place, int]]:
    for number in numbers:
        record = submission(seed, number)
        partition, offset = broker.append(record)
        log = broker.logs[Partition(record.topic, partition)]
        # A record carries its producer's time, and a broker may take any.
        log[-1] = log[-1]._replace(timestamp_ms=timestamp(seed, number) or log[-1].timestamp_ms)
        yield Place(record.topic, partition, offset), number


async def _run(loop: Loop, worker: NotingWorker, records: int) -> None:
    running = asyncio.create_task(loop.run())
    patience = time.monotonic() + _PATIENCE_S
    while worker.done < records and not running.done():
        if time.monotonic() > patience:
            raise Finding(f"{records - worker.done} records are not done after {_PATIENCE_S:.0f} s")
        await asyncio.sleep(0.005)
    loop.stop()
    await running


def _check_committed(broker: MemoryBroker) -> None:
    for topic in (REQUEST_SUBMITTED, DOCUMENT_SUBMITTED):
        for number in range(topic.partitions):
            end = len(broker.logs[Partition(topic.name, number)])
            if end != broker.offsets.get(("ingest", Partition(topic.name, number)), 0):
                raise Finding(f"{topic.name}/{number} is not committed up to its end {end}")


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def report(account: Account, seed: int) -> Iterator[str]:
    """What was done, for people."""
    yield f"{account.records:,} records in {account.seconds:.0f} s, seed {seed}"
    for fate, count in sorted(account.fates.items(), key=lambda item: -item[1]):
        yield f"{count:>10,}  {fate}"
    yield f"{sum(account.fates.values()):>10,}  accounted for, {len(account.findings)} findings"
    yield f"memory: {account.memory[0]} MiB after the first {CHUNK:,}, {account.memory[-1]} MiB at the end"
    for number, what in account.findings[:20]:
        yield f"FINDING {what}\n  replay: make fuzz-ingest RECORDS=1 FROM={number} SEED={seed}"


def tell(account: Account) -> None:
    sys.stderr.write(f"\r{account.records:,} records, {account.memory[-1]} MiB, {len(account.findings)} findings ")
    sys.stderr.flush()
