"""`python -m daytwo.provision`: creates the topics that are declared and not there, and tells what differs. Safe to repeat."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from daytwo.topic import Topic
from daytwo.topics import REQUEST_SUBMITTED, TOPICS


class ProvisionError(Exception):
    """The topics in Kafka are not as declared, or Kafka cannot be reached."""


ROAD_PARTITIONS = REQUEST_SUBMITTED.partitions


def partitions_of(topic: Topic[Any], road: int) -> int:
    """Partitions of a topic where the road has `road`: topics that must agree are declared alike, and change alike."""
    return road if topic.partitions == ROAD_PARTITIONS else topic.partitions


async def provision(bootstrap: str, replication: int = 1, road: int = ROAD_PARTITIONS) -> list[str]:
    """Creates what is missing and returns its names. `road`: partitions of the topics of the road. Raises ProvisionError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
    except KafkaConnectionError as error:
        raise ProvisionError(f"Kafka at {bootstrap} cannot be reached: {error}") from error
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in existing]
        await _create(admin, [_new(topic, replication, road) for topic in missing])
        await _check(admin, road)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


def _new(topic: Topic[Any], replication: int, road: int) -> NewTopic:
    return NewTopic(
        name=topic.name, num_partitions=partitions_of(topic, road), replication_factor=replication, topic_configs=topic.settings()
    )


async def _create(admin: AIOKafkaAdminClient, topics: list[NewTopic]) -> None:
    if not topics:
        return
    try:
        answer = await admin.create_topics(topics)
    except KafkaError as error:
        raise ProvisionError(f"topics not created: {error}") from error
    refused = [(name, code, text) for name, code, text in answer.topic_errors if code not in (0, TopicAlreadyExistsError.errno)]
    if refused:
        raise ProvisionError(f"topics not created: {refused}")


async def _check(admin: AIOKafkaAdminClient, road: int) -> None:
    described = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics([topic.name for topic in TOPICS])}
    wrong = [
        f"{topic.name} has {described[topic.name]} partitions, wanted are {partitions_of(topic, road)}"
        for topic in TOPICS
        if described.get(topic.name) not in (None, 0, partitions_of(topic, road))
    ]
    if wrong:
        raise ProvisionError("; ".join(wrong))


def _whole(name: str, default: int) -> int:
    value = os.environ.get(name, str(default))
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= 10_000:
        raise ValueError(f"{name} must be a whole number of 1 or more, not {value!r}")
    return int(value)


def main() -> None:
    bootstrap = os.environ.get("DAYTWO_KAFKA", "127.0.0.1:9092")
    try:
        replication, road = (_whole(name, default) for name, default in (("DAYTWO_REPLICATION", 1), ("DAYTWO_PARTITIONS", ROAD_PARTITIONS)))
        created = asyncio.run(provision(bootstrap, replication, road))
    except (ProvisionError, ValueError) as error:
        sys.exit(f"daytwo: {error}")
    sys.stdout.write(f"{len(TOPICS)} topics, {len(created)} created\n")


if __name__ == "__main__":
    main()
