"""What a hostile client can write beneath the records: each is a dead letter, and its partition goes on."""

from __future__ import annotations

from typing import Any

import pytest

from daytwo.broker import Outgoing
from tests.fuzz.submissions import crowded
from tests.libs.builders import until
from tests.system.hostile_producer import Write, header_name_that_is_no_utf_8, header_without_a_value, packed
from tests.system.road import request, road

pytestmark = [pytest.mark.stack, pytest.mark.system]


@pytest.mark.parametrize(
    ("write", "says"),
    [
        pytest.param(header_without_a_value, "no Confluent framing", id="a header without a value"),
        pytest.param(header_name_that_is_no_utf_8, "no Confluent framing", id="a header's name that is no UTF-8"),
        pytest.param(packed(30), "too many for a dead letter", id="30 MB, which no dead letter can carry"),
        pytest.param(packed(200), "no Confluent framing", id="200 MB, which are not unpacked"),
    ],
)
async def test_it_is_a_dead_letter_and_every_session_is_served(daytwo: dict[str, Any], write: Write, says: str) -> None:
    async with road(daytwo) as it:
        letter = await it.dead_letter(*await write(daytwo))
        served = [await it.answer(request(session=f"s-{number}")) for number in range(8)]  # over all partitions

    assert (letter.reason, letter.service) == ("unreadable", "ingest")
    assert says in letter.detail
    assert {result.outcome for result in served} == {"answered"}


async def test_a_request_of_three_million_empty_messages_is_refused_unread_and_the_next_is_served_at_once(daytwo: dict[str, Any]) -> None:
    async with road(daytwo) as it:
        await it.send(Outgoing(topic="request-submitted", key=b"plain/s", value=crowded(15 << 20, tenant="plain", request_id="crowded")))
        await until(lambda: "crowded" in it.results, 5)
        served = await it.answer(request(session="s"))

    assert [(result.outcome, result.reason) for result in it.results["crowded"]] == [("refused", "too_large")]
    assert served.outcome == "answered"
