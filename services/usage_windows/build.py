"""usage-windows over Kafka and Faust."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Any

from daytwo.flow import Service
from daytwo.kafka import ASKING_MS, KafkaBroker
from daytwo.world import World
from services.usage_windows.metrics import WindowsCollector
from services.usage_windows.past import Past
from services.usage_windows.publisher import Publisher
from services.usage_windows.service import Tenants, service
from services.usage_windows.settings import Settings
from services.usage_windows.stream import Stream

log = logging.getLogger(__name__)


def build(world: World) -> Service:
    settings = Settings.from_env(world.env)
    broker = KafkaBroker(world.kafka)
    sender = broker.sender()
    publisher = Publisher(sender, world.clock, world.rng)
    tenants = Tenants()
    stream = Stream(
        kafka=world.kafka,
        instance=world.instance("usage-windows"),
        state=Path(world.env.get("DAYTWO_STATE", tempfile.gettempdir())) / "usage-windows",
        tenants=tenants,
        publisher=publisher,
        reader=broker.reader,
        clock=world.clock,
        most_subjects=settings.most_subjects,
        save_ms=settings.save_ms,
        fatal=_die,
    )
    tenants.changed = stream.tenants_changed

    async def stop() -> None:
        await stream.stop()
        await sender.stop()

    async def view() -> Any:
        return stream.view()

    return service(
        past=Past(broker.reader(patience_ms=ASKING_MS), world.clock),
        settings=settings,
        tenants=tenants,
        clock=world.clock,
        followers=(stream.throttling,),
        start=stream.start,
        stop=stop,
        view=view,
        ready=stream.ready.is_set,
        metrics=WindowsCollector(stream.view),
    )


def _die(what: str, error: BaseException | None) -> None:
    """At once, as a kill -9 would: nothing half done is made to look done. The supervisor starts the process anew."""
    log.critical("usage-windows stops: %s", what, exc_info=error)
    logging.shutdown()
    os._exit(1)
