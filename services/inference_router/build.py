"""inference-router over aiohttp and Kafka."""

from __future__ import annotations

from daytwo.flow import Service
from daytwo.kafka import ASKING_MS, KafkaBroker
from daytwo.openings import Openings
from daytwo.world import World
from services.inference_router.kafka_journal import KafkaJournal
from services.inference_router.openai_provider import OpenAIProvider
from services.inference_router.service import service
from services.inference_router.settings import Settings


def build(world: World) -> Service:
    settings = Settings.from_env(world.env)
    broker = KafkaBroker(world.kafka)
    return service(
        provider=OpenAIProvider(world.env, most_bytes=settings.most_body_bytes, connect_s=settings.connect_s),
        reader=KafkaJournal(broker.reader(patience_ms=ASKING_MS), world.clock),
        openings=Openings(broker.reader(patience_ms=ASKING_MS), world.clock),
        clock=world.clock,
        rng=world.rng,
        settings=settings,
        name=world.instance("inference-router"),
    )
