"""From what the log says of requests to what the ledger must have of them. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from services.cost_meter.budget import Window
from services.cost_meter.decisions import Refusal, encode_proposal
from services.cost_meter.ports import Restoration, Settlement

FORGOTTEN = encode_proposal(Refusal(reason="id_reused", detail="what was decided is not known any more"))


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
