"""From what the log says of requests to what the ledger must have of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from services.cost_meter.budget import Window
from services.cost_meter.decisions import Refusal, encode_proposal
from services.cost_meter.history import Admitted
from services.cost_meter.ports import Restoration, Settlement

FORGOTTEN: Final = encode_proposal(Refusal(reason="id_reused", detail="what was decided is not known any more"))


def unreserved(settlement: Settlement, windows: Sequence[Window], at_ms: int) -> Restoration:
    """A request that has ended and that the ledger does not know: nothing is reserved for it, and its settlement can be booked."""
    return Restoration(
        tenant=settlement.tenant,
        request_id=settlement.request_id,
        fingerprint=settlement.fingerprint,
        nano=0,
        tokens=0,
        counts_as_open=False,
        decision=FORGOTTEN,
        windows=windows,
        at_ms=at_ms,
        round=0,
    )


def admitted_again(one: Admitted, windows: Sequence[Window]) -> Restoration:
    """What the log says was admitted."""
    admission = one.admission
    reserved = not admission["cache_only"]
    return Restoration(
        tenant=one.tenant,
        request_id=one.request_id,
        fingerprint=one.fingerprint,
        nano=admission["reserved_nano"],
        tokens=admission["reserved_tokens"],
        counts_as_open=reserved,
        decision=orjson.dumps({"admitted": admission}),
        windows=windows,
        at_ms=admission["at_ms"] or one.timestamp_ms,
        # Of cache only the round to go on with is written down, and that one is still to come.
        round=admission["round"] if reserved else max(0, admission["round"] - 1),
    )
