"""The load of ten thousand sessions, in one process. `python -m deploy.bench.sessions_load` takes its orders as JSON on standard input.

A session is a few numbers in arrays, not an object; what it sends is a template with three places filled in; what comes back is
known by its header, and only outcome and reason are read of it. So the generator takes a small part of a core. It prints a line
every few seconds, so that others see how it goes and can look at the processes, and the result at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import heapq
import json
import logging
import random
import resource
import signal
import sys
import time
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition

from daytwo.codec import decode
from daytwo.fate import REQUEST_ID_HEADER
from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED
from deploy.bench.arrivals import poisson, recorded, shaped
from deploy.bench.quantiles import quantiles
from deploy.bench.session_records import Asker, outcome_and_reason
from services.mock_provider.answers import latency_share
from services.mock_provider.distributions import Lognormal

ANSWERED: Final = "answered"
SAMPLED: Final = 40
"""Of so many results one is kept whole, to see where the time goes."""
NOTHING_DUE_S: Final = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """`sessions` that ask, wait and think; or, where `per_s` is set, arrivals that ask once each, at that mean rate."""

    bootstrap: str
    run: str
    """Begins the ids: six letters or digits."""
    tenant: str
    sessions: int = 0
    think_s: float = 20.0
    """Mean of the exponential distribution of the time to think. 0: every session asks once, all at the first moment."""
    per_s: float = 0.0
    trace: str = ""
    """File whose arrivals have the shape to follow; empty: a Poisson process."""
    seconds: float
    warm_s: float = 0.0
    """Of these seconds, what is asked in the first `warm_s` is not judged."""
    disturbed_s: float = -1.0
    """Moment of a fault: the stretch it falls in, the one before it (what was asked there is open when it strikes) and the one after
    it are not judged. Negative: there is none."""
    deadline_s: float = 0.0
    """What each request names, from its sending; 0: the tenant's."""
    grace_s: float = 75.0
    """How long after the last question results are awaited."""
    bucket_s: float = 60.0
    """Figures are given for each so many seconds."""
    median_ms: float
    p99_ms: float
    seed: int = 0
    """Of the provider's latencies, as the mock provider has them."""
    report_s: float = 5.0


@dataclass(slots=True)
class Bucket:
    """What was asked in one stretch of time, and what became of it."""

    asked: int = 0
    answered: int = 0
    in_time: int = 0
    """Of the answered: within what the request gave it, where it gave anything."""
    ends: Counter[str] = field(default_factory=Counter)
    """Of those that were not answered, by outcome and reason."""
    added_ms: array[float] = field(default_factory=lambda: array("d"))
    """Of the answered: from sending to arrival, less what the provider took by its own account."""
    refused_ms: array[float] = field(default_factory=lambda: array("d"))
    done: int = 0
    """Answers that arrived in this stretch, whenever they were asked for."""
    hints: int = 0


class Load:
    def __init__(self, order: Order) -> None:
        self.order = order
        self._rng = random.Random(order.run)
        self._latency = Lognormal(order.median_ms, order.p99_ms)
        self._due = self._schedule()
        count = order.sessions or len(self._due)
        self._turn = array("i", bytes(4 * count))
        self._sent = array("d", bytes(8 * count))
        """When the open request of each session was sent; 0: none is open."""
        self._own_ms = array("d", bytes(8 * count))
        self._asker = Asker(order.run, order.tenant)
        self._buckets = [Bucket() for _ in range(max(1, -int(-order.seconds // order.bucket_s)))]
        self._samples: list[tuple[float, bytes]] = []
        self._open = self._most_open = self._results = self._repeats = 0
        self._start = 0.0
        self._stopped = False
        self._since = Counter[str]()
        self._recent = array("d")
        self._late_ms = array("d")
        """How much later than it was due each question was sent."""

    def _schedule(self) -> list[tuple[float, int]]:
        """Seconds and sessions, in order: the first question of each."""
        order = self.order
        if order.per_s:
            return [(moment, number) for number, moment in enumerate(self._arrivals())]
        think = (self._rng.expovariate(1 / order.think_s) if order.think_s else 0.0 for _ in range(order.sessions))
        return sorted((first, number) for number, first in enumerate(think))

    def _arrivals(self) -> list[float]:
        order = self.order
        if order.trace:
            return shaped(self._rng, recorded(Path(order.trace)), order.per_s, order.seconds)
        return poisson(self._rng, order.per_s, order.seconds)

    async def run(self) -> dict[str, Any]:
        producer = AIOKafkaProducer(
            bootstrap_servers=self.order.bootstrap, enable_idempotence=True, acks="all", max_batch_size=512 * 1024, linger_ms=1
        )
        consumer = AIOKafkaConsumer(bootstrap_servers=self.order.bootstrap, enable_auto_commit=False)
        await producer.start()
        await consumer.start()
        try:
            await _at_the_end(consumer)
            return await self._measured(producer, consumer)
        finally:
            await consumer.stop()
            await producer.stop()

    async def _measured(self, producer: AIOKafkaProducer, consumer: AIOKafkaConsumer) -> dict[str, Any]:
        gc.freeze()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, self._stop)
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._stop)
        self._start = time.perf_counter()
        cpu = _cpu_s()
        tell({"event": "begins"})
        asking = asyncio.create_task(self._ask(producer))
        reporting = asyncio.create_task(self._report())
        try:
            await self._receive(consumer, asking)
            await asking
        finally:
            reporting.cancel()
        spent, seconds = _cpu_s() - cpu, time.perf_counter() - self._start
        return {"event": "result", "generator_cpu": round(spent / seconds, 3), **self.summary()}

    def _stop(self) -> None:
        """Asks no more; what is open is awaited for a moment, and the result says that it was stopped."""
        self._stopped = True

    # asking

    async def _ask(self, producer: AIOKafkaProducer) -> None:
        due, order = self._due, self.order
        if order.per_s:
            due.reverse()  # taken from its end
        while not self._stopped and (now := time.perf_counter() - self._start) < order.seconds:
            while due and (due[-1] if order.per_s else due[0])[0] <= now and not self._stopped:
                moment, session = due.pop() if order.per_s else heapq.heappop(due)
                await self._send(producer, session, moment)
            await asyncio.sleep(NOTHING_DUE_S / 4)

    async def _send(self, producer: AIOKafkaProducer, session: int, due: float) -> None:
        """Of arrivals the time counts from the moment they were due: a generator that falls behind must not flatter what it measures."""
        turn = self._turn[session] = self._turn[session] + 1
        asked = self._asker.ask(
            session, turn, deadline_ms=int((time.time() + self.order.deadline_s) * 1000) if self.order.deadline_s else 0
        )
        self._own_ms[session] = self._latency.quantile(latency_share(asked.question, self.order.seed))
        now = time.perf_counter() - self._start
        self._late_ms.append((now - due) * 1000)
        self._sent[session] = due if self.order.per_s else now
        self._open += 1
        self._most_open = max(self._most_open, self._open)
        self._bucket(self._sent[session]).asked += 1
        self._since["asked"] += 1
        await producer.send(REQUEST_SUBMITTED.name, value=asked.value, key=asked.key, headers=[(REQUEST_ID_HEADER, asked.request_id)])

    # receiving

    async def _receive(self, consumer: AIOKafkaConsumer, asking: asyncio.Task[None]) -> None:
        late = float("inf")
        while not asking.done() or (self._open and time.perf_counter() < late):
            batches = await consumer.getmany(timeout_ms=50)
            now = time.perf_counter() - self._start
            for records in batches.values():
                for record in records:
                    self._take(record, now)
            if asking.done() and late == float("inf"):
                late = time.perf_counter() + (2.0 if self._stopped else self.order.grace_s)

    def _take(self, record: Any, now: float) -> None:
        place = self._asker.place(_request_id(record))
        if place is None:
            return
        session, turn = place
        if turn != self._turn[session] or not self._sent[session]:
            self._repeats += 1
            return
        sent, self._sent[session] = self._sent[session], 0.0
        self._open -= 1
        self._results += 1
        self._end(record.value, session, sent, now)
        if self.order.think_s and not self.order.per_s:
            heapq.heappush(self._due, (now + self._rng.expovariate(1 / self.order.think_s), session))

    def _end(self, value: bytes, session: int, sent: float, now: float) -> None:
        bucket = self._bucket(sent)
        outcome, reason = outcome_and_reason(value)
        took_ms = (now - sent) * 1000
        if outcome == ANSWERED:
            bucket.answered += 1
            bucket.in_time += not self.order.deadline_s or took_ms <= self.order.deadline_s * 1000
            bucket.added_ms.append(took_ms - self._own_ms[session])
            self._bucket(now).done += 1
            self._recent.append(took_ms - self._own_ms[session])
            self._since["answered"] += 1
            if self._results % SAMPLED == 0:
                self._samples.append((sent, value))
        else:
            bucket.ends[f"{outcome} {reason}"] += 1
            self._since["not answered"] += 1
            if outcome == "refused":
                bucket.refused_ms.append(took_ms)
                bucket.hints += decode(REQUEST_FINISHED, value).retry_after_ms is not None if bucket.hints < 1000 else 0

    def _bucket(self, moment: float) -> Bucket:
        return self._buckets[min(len(self._buckets) - 1, int(moment / self.order.bucket_s))]

    # telling

    async def _report(self) -> None:
        while True:
            await asyncio.sleep(self.order.report_s)
            tell(
                {
                    "event": "progress",
                    "at_s": round(time.perf_counter() - self._start, 1),
                    "open": self._open,
                    **{name: self._since[name] for name in ("asked", "answered", "not answered")},
                    **{f"added_{name}": value for name, value in quantiles(self._recent).items()},
                }
            )
            self._since.clear()
            self._recent = array("d")

    def summary(self) -> dict[str, Any]:
        order = self.order
        judged = [bucket for number, bucket in enumerate(self._buckets) if self._is_judged(number)]
        added = [value for bucket in judged for value in bucket.added_ms]
        return {
            "stopped": self._stopped,
            "asked": sum(bucket.asked for bucket in self._buckets),
            "answered": sum(bucket.answered for bucket in self._buckets),
            "ends": dict(sum((bucket.ends for bucket in self._buckets), Counter[str]())),
            "missing": self._open,
            "repeats": self._repeats,
            "most_open": self._most_open,
            "late": quantiles(self._late_ms),
            "judged": {
                "asked": sum(bucket.asked for bucket in judged),
                "answered": sum(bucket.answered for bucket in judged),
                "in_time": sum(bucket.in_time for bucket in judged),
                "added": quantiles(added),
                "refused": quantiles([value for bucket in judged for value in bucket.refused_ms]),
                "retry_hints": sum(bucket.hints for bucket in judged),
                "seconds": len(judged) * order.bucket_s,
                "done": sum(bucket.done for bucket in judged),
            },
            "buckets": [self._shown(number, bucket) for number, bucket in enumerate(self._buckets)],
            "steps": _steps([value for sent, value in self._samples if sent >= order.warm_s]),
        }

    def _is_judged(self, number: int) -> bool:
        order, begins = self.order, number * self.order.bucket_s
        disturbed = order.disturbed_s >= 0 and abs(int(order.disturbed_s // order.bucket_s) - number) <= 1
        return begins >= order.warm_s and not disturbed

    def _shown(self, number: int, bucket: Bucket) -> dict[str, Any]:
        return {
            "begins_s": number * self.order.bucket_s,
            "length_s": self.order.bucket_s,
            "judged": self._is_judged(number),
            "asked": bucket.asked,
            "answered": bucket.answered,
            "in_time": bucket.in_time,
            "done": bucket.done,
            "ends": dict(bucket.ends),
            "added": quantiles(bucket.added_ms),
        }


def _steps(values: Sequence[bytes]) -> dict[str, dict[str, float]]:
    """Of the sampled results, milliseconds of each step: waiting for it (p50, p99); the call as the router saw it is left out."""
    queued: dict[str, list[float]] = {}
    executing: dict[str, list[float]] = {}
    for value in values:
        result = decode(REQUEST_FINISHED, value)
        called_ms = sum(attempt.latency_ms for attempt in result.attempts)
        for step in result.steps:
            queued.setdefault(step.step, []).append(step.queued_ms)
            own = step.executing_ms - (called_ms if step.step == "inference-router" else 0)
            executing.setdefault(step.step, []).append(own)
    return {
        step: {
            **{f"queued_{name}": value for name, value in quantiles(queued[step]).items()},
            **{f"executing_{name}": value for name, value in quantiles(executing[step]).items()},
        }
        for step in queued
    }


async def _at_the_end(consumer: AIOKafkaConsumer) -> None:
    numbers = await consumer._client._wait_on_metadata(REQUEST_FINISHED.name)
    partitions = [TopicPartition(REQUEST_FINISHED.name, number) for number in numbers]
    consumer.assign(partitions)
    await consumer.seek_to_end(*partitions)
    for partition in partitions:
        await consumer.position(partition)


def _request_id(record: Any) -> bytes:
    for name, value in record.headers:
        if name == REQUEST_ID_HEADER:
            return bytes(value)
    return b""


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def tell(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def main() -> None:
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    load = Load(Order(**json.load(sys.stdin)))
    with contextlib.suppress(KeyboardInterrupt):
        tell(uvloop.run(load.run()))


if __name__ == "__main__":
    main()
