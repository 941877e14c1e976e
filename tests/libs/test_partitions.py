"""A record goes where every Kafka client would put it."""

from __future__ import annotations

from aiokafka.partitioner import murmur2
from hypothesis import given
from hypothesis import strategies as st

from daytwo.kafka import _hash


@given(st.binary(max_size=70))
def test_a_key_is_hashed_as_aiokafka_hashes_it(key: bytes) -> None:
    assert _hash(key) == murmur2(key) & 0x7FFF_FFFF
