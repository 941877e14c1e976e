"""inference-router: request-grounded in, request-finished out, and every call of a provider on the journal."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from daytwo.batching import Batcher
from daytwo.clock import Clock
from daytwo.flow import Input, Service
from daytwo.topics import REQUEST_GROUNDED
from services.inference_router.deployments import Deployments
from services.inference_router.journal import Journal
from services.inference_router.ports import JournalReader, Provider
from services.inference_router.router import Router
from services.inference_router.settings import Settings


def service(*, provider: Provider, reader: JournalReader, clock: Clock, rng: Random, settings: Settings, name: str = "") -> Service:
    """`name`: of this process among the routers, stable over restarts."""
    deployments = Deployments(settings.breaker, clock)
    journal = Journal(settings.journal_bytes)

    async def read(partitions: Sequence[tuple[int, int]]) -> Sequence[None]:
        before_ms = settings.journal_before_ms
        await reader.read({number: max(0, first_ms - before_ms) for number, first_ms in partitions}, journal.load)
        return [None] * len(partitions)

    # Partitions come many at a time, and each look at the log has its price.
    reads = Batcher(read)

    async def read_again(partition: int, since_ms: int) -> None:
        await reads((partition, since_ms))

    router = Router(deployments, journal, provider, clock, rng, settings.retry, name=name, read_again=read_again)

    async def prepare(partition: int, first_timestamp_ms: int) -> None:
        await reads((partition, first_timestamp_ms))
        router.take_over(partition)

    async def start() -> None:
        await reader.start()
        await provider.start()

    async def stop() -> None:
        await provider.stop()
        await reader.stop()

    return Service(
        name="inference-router",
        inputs=[
            Input(
                topic=REQUEST_GROUNDED,
                handle=router.handle,
                ending=router.ending,
                # The router looks at the deadline itself, after the journal: what was bought is delivered even late.
                deadline_ms=None,
                prepare=prepare,
                release=journal.release,
                hand_over=router.hand_over,
            )
        ],
        followers=[deployments],
        start=start,
        stop=stop,
        max_in_flight=settings.max_in_flight,
        max_in_flight_bytes=256 * 1024 * 1024,
        views={"/deployments": deployments.view},
    )
