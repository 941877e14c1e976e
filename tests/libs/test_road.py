"""Which services a request needs."""

from __future__ import annotations

from typing import Any

import pytest

from daytwo.records import CachePolicy, Grounding, Message, RequestSubmitted
from daytwo.road import goes_straight


@pytest.mark.parametrize(
    ("fields", "policy", "straight"),
    [
        ({"cache": "off"}, CachePolicy(), True),
        ({"cache": "use"}, CachePolicy(), False),
        ({"cache": "refresh"}, CachePolicy(), False),
        ({"cache": "use"}, CachePolicy(enabled=False), True),
        ({"cache": "use"}, CachePolicy(ttl_s=0), True),
        ({"cache": "use"}, None, True),
        ({"cache": "off", "grounding": Grounding(collection="docs")}, CachePolicy(enabled=False), False),
    ],
)
def test_only_what_needs_neither_cache_nor_passages_goes_straight_to_the_router(
    fields: dict[str, Any], policy: CachePolicy | None, straight: bool
) -> None:
    asked = RequestSubmitted(request_id="r1", tenant="acme", messages=(Message(role="user", content="Why?"),), model="small", **fields)

    assert goes_straight(asked, policy) is straight
