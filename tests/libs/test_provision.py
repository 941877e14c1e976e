from __future__ import annotations

import pytest

from daytwo.provision import ROAD_PARTITIONS, partitions_of, provision
from daytwo.topics import ATTEMPT_FINISHED, ATTEMPT_STARTED, DEAD_LETTER, REQUEST_GROUNDED, TENANT_CONFIGURED, TOPICS


def test_a_larger_cluster_gets_more_partitions_for_the_road_and_topics_that_must_agree_still_agree() -> None:
    assert {partitions_of(topic, 24) for topic in (REQUEST_GROUNDED, ATTEMPT_STARTED, ATTEMPT_FINISHED)} == {24}
    assert partitions_of(TENANT_CONFIGURED, 24) == 1
    assert partitions_of(DEAD_LETTER, 24) == DEAD_LETTER.partitions


def test_without_a_wish_the_declaration_holds() -> None:
    assert all(partitions_of(topic, ROAD_PARTITIONS) == topic.partitions for topic in TOPICS)


@pytest.mark.stack
async def test_creating_topics_again_creates_nothing(parts: dict[str, str]) -> None:
    assert await provision(parts["kafka"]) == []
