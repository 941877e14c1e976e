"""The embedder, with its models."""

from __future__ import annotations

from daytwo.flow import Service, Table
from daytwo.topics import TENANT_CONFIGURED
from daytwo.world import World
from services.embedder.models import Models
from services.embedder.ports import Model
from services.embedder.service import service
from services.embedder.settings import Settings


def build(world: World) -> Service:
    settings = Settings.from_env(world.env)

    # Imported when a model is first wanted: what a tenant does not use takes no memory.
    def wordllama() -> Model:
        from services.embedder.wordllama_model import WordLlama

        return WordLlama()

    def minilm() -> Model:
        from services.embedder.minilm_model import MiniLm

        return MiniLm(threads=settings.threads)

    models = Models({"wordllama-256": wordllama, "minilm-int8": minilm}, max_windows=settings.max_windows)

    async def start() -> None:
        for name in settings.preload:
            await models.load(name)

    async def stop() -> None:
        models.close()

    return service(models.vectors, tenants=Table(TENANT_CONFIGURED), start=start, stop=stop)
