"""What the ledger remembers of a decision."""

from __future__ import annotations

import orjson

from daytwo.records import Admission
from services.cost_meter.decisions import decode, encode_proposal


def test_a_decision_that_an_older_daytwo_remembered_is_read_with_what_it_did_not_say_as_it_was_then() -> None:
    admitted = Admission(cache_only=False, reserved_nano=7, input_tokens_bound=5, attempts_bound=1)
    remembered = orjson.loads(encode_proposal(admitted))
    del remembered["admitted"]["straight"]

    assert decode(orjson.dumps(remembered)) == admitted
