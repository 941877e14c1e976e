"""The cache, with its Redis. It starts without one, too: until then every request is a miss."""

from __future__ import annotations

from daytwo.flow import Service, Table
from daytwo.topics import TENANT_CONFIGURED
from daytwo.world import World
from services.cache.redis_answers import RedisAnswers
from services.cache.service import service
from services.cache.settings import Settings


def build(world: World) -> Service:
    settings = Settings.from_env(world.env)
    answers = RedisAnswers(settings.redis_url, world.clock, follow_ms=settings.follow_ms, timeout_ms=settings.redis_timeout_ms)
    return service(answers, tenants=Table(TENANT_CONFIGURED), clock=world.clock, settings=settings, stop=answers.close)
