"""inference-router: request-grounded in, request-finished out, and every call of a provider on the journal."""

from __future__ import annotations

from random import Random

from daytwo.clock import Clock
from daytwo.flow import Input, Service
from daytwo.topics import REQUEST_GROUNDED

from services.inference_router.deployments import Deployments
from services.inference_router.journal import Journal
from services.inference_router.ports import JournalReader, Provider
from services.inference_router.router import Router
from services.inference_router.settings import Settings


def service(*, provider: Provider, reader: JournalReader, clock: Clock, rng: Random, settings: Settings) -> Service:
    deployments = Deployments(settings.breaker, clock)
    journal = Journal(settings.journal_bytes)
    router = Router(deployments, journal, provider, clock, rng, settings.retry)

    async def prepare(partition: int, first_timestamp_ms: int) -> None:
        since_ms = max(0, first_timestamp_ms - settings.journal_before_ms)
        async for record in reader.read(partition, since_ms):
            journal.load(partition, record)

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
            )
        ],
        followers=[deployments],
        start=start,
        stop=stop,
        max_in_flight=settings.max_in_flight,
        views={"/deployments": deployments.view},
    )
