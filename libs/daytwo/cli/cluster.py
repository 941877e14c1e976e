"""What the broker port does not say: which topics exist, and where consumer groups are."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Protocol

from daytwo.broker import Partition
from daytwo.errors import RetryableError

COORDINATOR_ATTEMPTS = 20


class Cluster(Protocol):
    async def topics(self) -> Mapping[str, int]:
        """Number of partitions of every topic, Kafka's own left out. Raises RetryableError."""
        ...

    async def committed(self, groups: Sequence[str]) -> Mapping[str, Mapping[Partition, int]]:
        """Committed offsets by group; a group that never committed has none. Raises RetryableError."""
        ...


class KafkaCluster:
    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap

    async def topics(self) -> Mapping[str, int]:
        async with self._admin() as admin:
            return {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics() if not topic["is_internal"]}

    async def committed(self, groups: Sequence[str]) -> Mapping[str, Mapping[Partition, int]]:
        async with self._admin() as admin:
            await _coordinated(admin, groups)
            found = {group: await admin.list_consumer_group_offsets(group) for group in groups}
        return {
            group: {Partition(tp.topic, tp.partition): at.offset for tp, at in offsets.items() if at.offset >= 0}
            for group, offsets in found.items()
        }

    @contextlib.asynccontextmanager
    async def _admin(self) -> AsyncIterator[Any]:
        # Not at import: `--help` does without.
        from aiokafka.admin import AIOKafkaAdminClient
        from aiokafka.errors import KafkaError

        admin = AIOKafkaAdminClient(bootstrap_servers=self._bootstrap, request_timeout_ms=10_000)
        try:
            await admin.start()
            yield admin
        except (KafkaError, OSError, TimeoutError) as error:
            raise RetryableError("store_unavailable", f"Kafka at {self._bootstrap}: {error!r}") from error
        finally:
            with contextlib.suppress(Exception):
                await admin.close()


async def _coordinated(admin: Any, groups: Sequence[str]) -> None:
    """Waits, for seconds, until the groups have a coordinator: the first question makes a new cluster create its offsets topic."""
    from aiokafka.errors import GroupCoordinatorNotAvailableError

    for attempt in range(COORDINATOR_ATTEMPTS):
        try:
            for group in groups:
                await admin.find_coordinator(group)
            return
        except GroupCoordinatorNotAvailableError:
            if attempt == COORDINATOR_ATTEMPTS - 1:
                raise
            await asyncio.sleep(0.5)
