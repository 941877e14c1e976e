"""Reads a whole topic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from daytwo.cli.journal import records
from daytwo.kafka import KafkaBroker
from daytwo.topic import R, Topic


async def read_all(stack: Mapping[str, Any], topic: Topic[R]) -> list[R]:
    """In log order, to the end as of now."""
    return [record async for record in records(KafkaBroker(stack["kafka"]), topic)]
