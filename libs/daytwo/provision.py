"""`python -m daytwo.provision`: creates the topics that are declared and not there, and tells what differs. Safe to repeat."""

from __future__ import annotations

import asyncio
import os
import sys

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaConnectionError, KafkaError, TopicAlreadyExistsError

from daytwo.topics import TOPICS


class ProvisionError(Exception):
    """The topics in Kafka are not as declared, or Kafka cannot be reached."""


async def provision(bootstrap: str, replication: int = 1) -> list[str]:
    """Creates what is missing and returns its names. Raises ProvisionError."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    try:
        await admin.start()
    except KafkaConnectionError as error:
        raise ProvisionError(f"Kafka at {bootstrap} cannot be reached: {error}") from error
    try:
        existing = set(await admin.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in existing]
        await _create(
            admin,
            [
                NewTopic(name=topic.name, num_partitions=topic.partitions, replication_factor=replication, topic_configs=topic.settings())
                for topic in missing
            ],
        )
        await _check(admin)
        return [topic.name for topic in missing]
    finally:
        await admin.close()


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


async def _check(admin: AIOKafkaAdminClient) -> None:
    described = {entry["topic"]: len(entry["partitions"]) for entry in await admin.describe_topics([topic.name for topic in TOPICS])}
    wrong = [
        f"{topic.name} has {described[topic.name]} partitions, declared are {topic.partitions}"
        for topic in TOPICS
        if described.get(topic.name) not in (None, 0, topic.partitions)
    ]
    if wrong:
        raise ProvisionError("; ".join(wrong))


def main() -> None:
    bootstrap = os.environ.get("DAYTWO_KAFKA", "127.0.0.1:9092")
    try:
        created = asyncio.run(provision(bootstrap, int(os.environ.get("DAYTWO_REPLICATION", "1"))))
    except ProvisionError as error:
        sys.exit(f"daytwo: {error}")
    sys.stdout.write(f"{len(TOPICS)} topics, {len(created)} created\n")


if __name__ == "__main__":
    main()
