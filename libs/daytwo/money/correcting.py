"""Corrections as records: history stays as it was, and whoever sums up adds them. Pure."""

from __future__ import annotations

import uuid
from typing import Literal

from daytwo.money.attempts import Attempt
from daytwo.records import CostCorrected

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "daytwo:cost-corrected")


def correction(
    attempt: Attempt, delta_nano: int, *, reason: Literal["reprice", "reconcile"], source: str, by: str, at_ms: int
) -> CostCorrected:
    """The same attempt corrected from the same source has the same id: to run a command again corrects nothing twice."""
    return CostCorrected(
        correction_id=str(uuid.uuid5(NAMESPACE, f"{attempt.tenant}/{attempt.attempt_id}/{reason}/{source}")),
        tenant=attempt.tenant,
        request_id=attempt.request_id,
        attempt_id=attempt.attempt_id,
        delta_nano=delta_nano,
        reason=reason,
        source=source,
        by=by,
        at_ms=at_ms,
    )
