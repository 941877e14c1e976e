"""Puts ingest together from the environment."""

from __future__ import annotations

from functools import partial

from daytwo.flow import Service
from daytwo.kafka import KafkaBroker
from daytwo.world import World
from services.ingest.kafka_road_ends import KafkaRoadEnds
from services.ingest.service import service
from services.ingest.settings import Settings
from services.ingest.splitting_process import SplittingProcesses, make_chunker
from services.ingest.tokenizer_file import find_tokenizer


def build(world: World) -> Service:
    """Raises SettingsError, and MissingTokenizerError."""
    settings = Settings.from_env(world.env)
    make_cut = partial(make_chunker, settings.chunk_rules, find_tokenizer())
    road_ends = KafkaRoadEnds(KafkaBroker(world.kafka), world.clock, world.rng)
    return service(settings, SplittingProcesses(make_cut, processes=settings.splitters), road_ends)
