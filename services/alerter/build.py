"""alerter over Kafka."""

from __future__ import annotations

from daytwo.flow import Service
from daytwo.kafka import KafkaBroker
from daytwo.world import World
from services.alerter.service import service


def build(world: World) -> Service:
    return service(clock=world.clock, sender=KafkaBroker(world.kafka).sender())
