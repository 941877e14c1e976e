"""Carries one record, or a batch, from its bytes to the acknowledgement of all it led to. Decides each record's fate."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

from prometheus_client import Counter

from daytwo import fate
from daytwo.broker import GroupReader, Outgoing, Partition, Raw, Sender, outgoing
from daytwo.clock import Clock
from daytwo.codec import decode, decode_head
from daytwo.errors import DaytwoError, DisownedError, RetryableError, TerminalError, UnreadableError
from daytwo.flow import Context, Input, Output
from daytwo.metrics import Durations, Metrics
from daytwo.records import RequestFinished
from daytwo.topic import Record

log = logging.getLogger(__name__)

BUGS_IN_A_ROW = 20
"""So many records in a row that end in a bug stop the service: it is the service that is broken, not the records."""

LARGE_BYTES = 64 * 1024
"""Above this a record may take long to decode."""

_NO_RECORD = object()


class _TopicMetrics(NamedTuple):
    queue: Durations
    handler: Durations
    done: Counter


class TooManyBugsError(Exception):
    """The service is broken and must stop."""


class Worker:
    """Handles the records of one service. Used by one loop; every method leaves nothing undone when it returns."""

    def __init__(self, service: str, sender: Sender, clock: Clock, rng: random.Random, metrics: Metrics, group: GroupReader) -> None:
        self.service = service
        self._group = group
        self._sender = sender
        self._clock = clock
        self._rng = rng
        self._metrics = metrics
        self._bugs = 0
        self._large = asyncio.Lock()
        self._topics: dict[str, _TopicMetrics] = {}
        self._ended: dict[tuple[str, str, str], Counter] = {}
        self._amounts: dict[tuple[Counter, str], Counter] = {}

    async def one(self, source: Input[Any], raw: Raw, *, condemned: bool = False) -> None:
        """Handles a record and returns once everything it led to is acknowledged."""
        context = self._context(raw)
        self._observe_queue(raw, context)
        record, ended = await self._opened(source, raw, context, condemned=condemned)
        outputs = ended if ended is not None else await self._handled(source, raw, record, context)
        await self._send_all(source, [(raw, record, context, outputs)])

    async def batch(self, source: Input[Any], raws: Sequence[Raw]) -> None:
        """Handles records together and returns once everything they led to is acknowledged."""
        opened = []
        for raw in raws:
            context = self._context(raw)
            self._observe_queue(raw, context)
            opened.append((raw, context, *self._open(source, raw, context)))
        ready = [(record, context) for _, context, record, ended in opened if ended is None]
        handled = iter(await self._batch_outputs(source, ready) if ready else ())
        results: list[tuple[Raw, Any, Context, Sequence[Output]]] = []
        for raw, context, record, ended in opened:
            outputs = ended if ended is not None else next(handled)
            if outputs is None:
                outputs = await self._handled(source, raw, record, context)
            results.append((raw, record, context, outputs))
        await self._send_all(source, results)

    async def bulk(self, source: Input[Any], raws: Sequence[Raw]) -> None:
        """Handles records of one topic together and returns once everything they led to is acknowledged."""
        self._of(raws[0].topic).queue.observe(max(0, self._clock.now_ms() - raws[0].timestamp_ms) / 1000)
        await self.send(await self._bulk_outputs(source, raws))

    async def _bulk_outputs(self, source: Input[Any], raws: Sequence[Raw]) -> Sequence[Output]:
        handle = source.handle_bulk
        assert handle is not None
        try:
            outputs = await self._retried(source, None, lambda: handle(raws))
        except Exception as error:
            if len(raws) > 1:
                log.info("%d records of %s failed, going on one by one: %r", len(raws), source.topic.name, error)
                return [output for raw in raws for output in await self._bulk_outputs(source, [raw])]
            if not isinstance(error, DaytwoError):
                self._count_bug(error)
            return [self._dead_letter(raws[0], error, None)]
        self._bugs = 0
        self._of(raws[0].topic).done.inc(len(raws))
        return outputs

    def _context(self, raw: Raw) -> Context:
        partition = Partition(raw.topic, raw.partition)
        return Context(
            self.service,
            raw.topic,
            raw.partition,
            raw.offset,
            raw.timestamp_ms,
            self._clock.now_ms(),
            raw.key,
            raw.value,
            raw.headers,
            self._clock,
            self.write_ahead,
            partial(self._still_ours, partition, self._group.tenure(partition)),
        )

    async def _still_ours(self, partition: Partition, tenure: int) -> None:
        if not await self._group.owns(partition, tenure):
            raise DisownedError(f"{partition} has moved")

    def _observe_queue(self, raw: Raw, context: Context) -> None:
        self._of(raw.topic).queue.observe(max(0, context.started_ms - raw.timestamp_ms) / 1000)

    def _of(self, topic: str) -> _TopicMetrics:
        """The metrics of one topic; looked up once, for `labels` costs more than counting."""
        if (found := self._topics.get(topic)) is None:
            labels = (self.service, topic)
            found = self._topics[topic] = _TopicMetrics(
                self._metrics.queue.labels(*labels), self._metrics.handler.labels(*labels), self._metrics.records.labels(*labels, "done")
            )
        return found

    async def _opened(self, source: Input[Any], raw: Raw, context: Context, *, condemned: bool) -> tuple[Any, Sequence[Output] | None]:
        """`_open`; large ones one after another, with a turn for everybody else between them.

        A megabyte of the smallest list items takes a second. All that were read together would be opened in one turn of the event
        loop, and the group would miss its member's heartbeats and give the same records out again, and again.
        """
        if len(raw.value or b"") <= LARGE_BYTES:
            return self._open(source, raw, context, condemned=condemned)
        async with self._large:
            await asyncio.sleep(0)
            return self._open(source, raw, context, condemned=condemned)

    def _open(self, source: Input[Any], raw: Raw, context: Context, *, condemned: bool = False) -> tuple[Any, Sequence[Output] | None]:
        """The decoded record; and its outputs if it needs no handler any more: unreadable, too large, set aside, too late."""
        size = len(raw.value or b"")
        try:
            if source.most_bytes is not None and size > source.most_bytes:
                named = decode_head(source.topic, raw.value or b"")
                large = TerminalError("too_large", f"the record has {size} bytes; at most {source.most_bytes}")
                return named, list(source.ending(named, context, large))
            record = decode(source.topic, raw.value or b"", strict="client" in source.topic.writers)
        except UnreadableError as error:
            partial = error.partial
            now_ms = self._clock.now_ms()
            endings = fate.unreadable_ended(raw, error, now_ms=now_ms) if partial is None else source.ending(partial, context, error)
            return partial or _NO_RECORD, [self._dead_letter(raw, error, partial), *endings]
        if condemned:
            poison = TerminalError("poison_record", "the service died three times over this record")
            return record, [self._dead_letter(raw, poison, record), *source.ending(record, context, poison)]
        if source.deadline_ms is not None and source.deadline_ms(record) <= context.started_ms:
            late = TerminalError("deadline_exceeded", f"the deadline passed before {self.service} began")
            self._metrics.records.labels(self.service, raw.topic, "expired").inc()
            return record, list(source.ending(record, context, late))
        return record, None

    def _dead_letter(self, raw: Raw, error: BaseException, record: Any) -> Output:
        letter = fate.dead_letter(raw, error, service=self.service, now_ms=self._clock.now_ms(), record=record)
        self._metrics.records.labels(self.service, raw.topic, "dead_letter").inc()
        self._metrics.dead_letters.labels(self.service, letter.reason).inc()
        log.warning("dead letter: %s %d/%d: %s %s", raw.topic, raw.partition, raw.offset, letter.reason, letter.detail[:200])
        return letter

    async def _handled(self, source: Input[Any], raw: Raw, record: Any, context: Context) -> Sequence[Output]:
        """The record's outputs, from its handler or from its ending."""
        try:
            outputs: Sequence[Output] = await self._retried(source, record, lambda: self._call(source, record, context))
        except RetryableError as error:  # the deadline passed over it
            self._metrics.records.labels(self.service, raw.topic, "expired").inc()
            return source.ending(record, context, error)
        except TerminalError as error:
            return [self._dead_letter(raw, error, record), *source.ending(record, context, error)]
        except DisownedError:
            raise
        except Exception as error:
            self._count_bug(error)
            bug = TerminalError("internal_error", repr(error)[:500])
            return [self._dead_letter(raw, error, record), *source.ending(record, context, bug)]
        self._bugs = 0
        self._of(raw.topic).done.inc()
        return outputs

    @staticmethod
    async def _call(source: Input[Any], record: Any, context: Context) -> Sequence[Output]:
        if source.handle is not None:
            return await source.handle(record, context)
        assert source.handle_batch is not None
        return (await source.handle_batch([(record, context)]))[0]

    async def _batch_outputs(self, source: Input[Any], ready: Sequence[tuple[Any, Context]]) -> Sequence[Sequence[Output] | None]:
        """The outputs of each; None for all where the batch failed, so that each is handled alone and fails for itself."""
        assert source.handle_batch is not None
        try:
            outputs = await source.handle_batch(ready)
        except Exception as error:
            log.info("a batch of %d of %s failed, going on one by one: %r", len(ready), source.topic.name, error)
            return [None] * len(ready)
        if len(outputs) != len(ready):
            raise TooManyBugsError(f"{source.topic.name}: {len(outputs)} outputs for {len(ready)} records")
        self._bugs = 0
        self._of(source.topic.name).done.inc(len(ready))
        return outputs

    def _count_bug(self, error: Exception) -> None:
        self._bugs += 1
        log.error("a bug", exc_info=error)
        if self._bugs >= BUGS_IN_A_ROW:
            raise TooManyBugsError(f"{self._bugs} bugs in a row, the last: {error!r}") from error

    async def _retried(self, source: Input[Any], record: Any, call: Callable[[], Awaitable[Sequence[Output]]]) -> Sequence[Output]:
        """Calls until it succeeds, with back-off and full jitter, until the record's deadline."""
        pause = 0.05
        while True:
            try:
                return await call()
            except RetryableError as error:
                wait = max(error.retry_after_s or 0, self._rng.uniform(0, pause))
                end = source.deadline_ms(record) if source.deadline_ms is not None else None
                if end is not None and self._clock.now_ms() + wait * 1000 >= end:
                    raise
                self._metrics.retries.labels(self.service, error.reason).inc()
                log.info("trying again in %.2f s: %s", wait, error)
                await self._clock.sleep(wait)
                pause = min(5.0, pause * 2)

    async def _send_all(self, source: Input[Any], ended: Sequence[tuple[Raw, Any, Context, Sequence[Output]]]) -> None:
        try:
            await self.send([output for _, _, _, outputs in ended for output in outputs])
        except (TerminalError, ValueError, TypeError) as error:
            # An output does not fit its schema or its topic: the record it is from can never be processed.
            if len(ended) > 1:
                for item in ended:
                    await self._send_all(source, [item])
                return
            raw, record, context, _ = ended[0]
            known = error if isinstance(error, TerminalError) else TerminalError("internal_error", repr(error)[:500])
            endings = source.ending(record, context, known) if record is not _NO_RECORD else ()
            await self.send([self._dead_letter(raw, error, record), *endings])
        handler = self._of(source.topic.name).handler
        now = self._clock.now_ms()
        for _, _, context, _ in ended:
            handler.observe(max(0, now - context.started_ms) / 1000)

    async def send(self, outputs: Sequence[Output]) -> None:
        """Sends until acknowledged. An unknown outcome is sent again: the same ids make the repeat harmless."""
        if not outputs:
            return
        records = [self._addressed(output) for output in outputs]
        pause = 0.05
        while True:
            try:
                await self._sender.send(records)
            except RetryableError as error:
                log.warning("sending again: %s", error)
                await self._clock.sleep(self._rng.uniform(0, pause))
                pause = min(2.0, pause * 2)
            else:
                break
        for output in outputs:
            if isinstance(output, RequestFinished):
                self._count_result(output)

    def _addressed(self, output: Output) -> Outgoing:
        headers: Mapping[str, bytes] = fate.headers_of(output)
        return outgoing(output, headers)

    def _count_result(self, result: RequestFinished) -> None:
        how = (result.outcome, result.reason, result.served_by)
        if (ended := self._ended.get(how)) is None:
            ended = self._ended[how] = self._metrics.finished.labels(self.service, *how)
        ended.inc()
        for metric, label, amount in (
            (self._metrics.tokens, "input", result.usage.input_tokens),
            (self._metrics.tokens, "output", result.usage.output_tokens),
            (self._metrics.cost, "spent", result.cost_nano / 1e9),
            (self._metrics.cost, "saved", result.saved_nano / 1e9),
        ):
            if amount:
                if (counter := self._amounts.get((metric, label))) is None:
                    counter = self._amounts[metric, label] = metric.labels(self.service, label)
                counter.inc(amount)

    async def write_ahead(self, record: Record) -> None:
        """Sends a record until it is acknowledged."""
        await self.send([record])
