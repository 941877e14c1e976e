"""The retriever, with Milvus."""

from __future__ import annotations

from daytwo.flow import Service
from daytwo.world import World
from services.retriever.milvus_index import MilvusIndex
from services.retriever.service import service
from services.retriever.settings import Settings


def build(world: World) -> Service:
    return service(MilvusIndex(Settings.from_env(world.env), world.clock))
