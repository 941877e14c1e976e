"""cost-meter over Redis and Kafka."""

from __future__ import annotations

from typing import Final

from daytwo.broker import outgoing
from daytwo.flow import Service
from daytwo.kafka import ASKING_MS, KafkaBroker
from daytwo.openings import Openings
from daytwo.records import LedgerOpened
from daytwo.world import World
from services.cost_meter.history import History
from services.cost_meter.kafka_log import KafkaLog
from services.cost_meter.keeper import LedgerKeeper
from services.cost_meter.redis_holdings import RedisHoldings
from services.cost_meter.redis_ledger import RedisLedger
from services.cost_meter.service import service
from services.cost_meter.settings import Settings

OPENS_WITHIN_S: Final = 5.0
"""Longer than a rebuilding mostly takes."""


def build(world: World) -> Service:
    settings = Settings.from_env(world.env)
    ledger = RedisLedger(settings.ledger_redis, keep_ms=settings.keep_ms, opens_within_s=OPENS_WITHIN_S)
    broker = KafkaBroker(world.kafka)
    sender = broker.sender()

    async def announce(opening: LedgerOpened) -> None:
        await sender.send([outgoing(opening)])

    log = KafkaLog(broker.reader(patience_ms=ASKING_MS), world.clock)
    keeper = LedgerKeeper(
        ledger,
        RedisHoldings(ledger),
        History(broker.reader(patience_ms=ASKING_MS), world.clock),
        Openings(broker.reader(patience_ms=ASKING_MS), world.clock),
        announce,
        world.clock,
        trust_log=settings.trust_log,
    )
    return service(ledger=ledger, log=log, clock=world.clock, settings=settings, keeper=keeper)
