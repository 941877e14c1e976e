"""inference-router: requests in, request-finished out, and every call of a provider on the journal.

What needs nothing but a model is read from request-admitted, everything else from request-grounded. Each of the two roads has a
router and a journal of its own, for its partitions come and go by themselves; a request takes one road only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from daytwo.batching import Batcher
from daytwo.clock import Clock
from daytwo.errors import DaytwoError
from daytwo.flow import Context, Input, Output, Service
from daytwo.openings import Openings
from daytwo.records import RequestAdmitted, RequestGrounded
from daytwo.topics import REQUEST_ADMITTED, REQUEST_GROUNDED
from services.inference_router.deployments import Deployments
from services.inference_router.journal import Journal
from services.inference_router.ports import JournalReader, Provider
from services.inference_router.router import Router
from services.inference_router.settings import Settings


def service(
    *, provider: Provider, reader: JournalReader, openings: Openings, clock: Clock, rng: Random, settings: Settings, name: str = ""
) -> Service:
    """`name`: of this process among the routers, stable over restarts."""
    deployments = Deployments(settings.breaker, clock, settings.most_starting)
    desk = _Desk(deployments, provider, reader, openings, clock, rng, settings, name)

    async def start() -> None:
        await reader.start()
        await openings.start()
        await provider.start()

    async def stop() -> None:
        await provider.stop()
        await openings.stop()
        await reader.stop()

    return Service(
        name="inference-router",
        inputs=[_admitted(desk), _grounded(desk)],
        followers=[deployments],
        start=start,
        stop=stop,
        max_in_flight=settings.max_in_flight,
        max_in_flight_bytes=256 * 1024 * 1024,
        views={"/deployments": deployments.view},
    )


@dataclass(frozen=True, slots=True)
class _Desk:
    """What the two roads share."""

    deployments: Deployments
    provider: Provider
    reader: JournalReader
    openings: Openings
    clock: Clock
    rng: Random
    settings: Settings
    name: str


def _grounded(desk: _Desk) -> Input[RequestGrounded]:
    router, rest = _road(desk)
    return Input(topic=REQUEST_GROUNDED, handle=router.handle, ending=router.ending, **rest)


def _admitted(desk: _Desk) -> Input[RequestAdmitted]:
    router, rest = _road(desk)

    async def handle(admitted: RequestAdmitted, context: Context) -> Sequence[Output]:
        return await router.handle(_straight(admitted), context) if admitted.admission.straight else []

    def ending(admitted: RequestAdmitted, context: Context, error: DaytwoError) -> Sequence[Output]:
        return router.ending(_straight(admitted), context, error) if admitted.admission.straight else []

    return Input(topic=REQUEST_ADMITTED, handle=handle, ending=ending, **rest)


def _straight(admitted: RequestAdmitted) -> RequestGrounded:
    return RequestGrounded(
        request=admitted.request,
        fingerprint=admitted.fingerprint,
        admission=admitted.admission,
        question="",
        passages=(),
        steps=admitted.steps,
    )


def _road(desk: _Desk) -> tuple[Router, dict[str, Any]]:
    """A router, and what an input needs beside its handlers."""
    journal, reader, settings = Journal(desk.settings.journal_bytes // 2), desk.reader, desk.settings

    async def read(partitions: Sequence[tuple[int, int]]) -> Sequence[None]:
        await reader.read({number: max(0, first_ms - settings.journal_before_ms) for number, first_ms in partitions}, journal.load)
        return [None] * len(partitions)

    # Partitions come many at a time, and each look at the log has its price.
    reads = Batcher(read)

    async def read_again(partition: int, since_ms: int) -> None:
        await reads((partition, since_ms))

    router = Router(
        desk.deployments,
        journal,
        desk.provider,
        desk.clock,
        desk.rng,
        settings.retry,
        name=desk.name,
        read_again=read_again,
        latest_opening=desk.openings.latest,
    )

    async def prepare(partition: int, first_timestamp_ms: int) -> None:
        await reads((partition, first_timestamp_ms))
        router.take_over(partition)

    return router, {
        # The router looks at the deadline itself, after the journal: what was bought is delivered even late.
        "deadline_ms": None,
        "prepare": prepare,
        "release": journal.release,
        "hand_over": router.hand_over,
    }
