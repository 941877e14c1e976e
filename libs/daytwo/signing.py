"""Signatures of requests and documents, for those who send and for ingest that checks.

A tenant with keys signs the record's value, the very bytes it produces, with HMAC-SHA256 and sends two headers.
"""

from __future__ import annotations

import hmac
from typing import Final

KEY_HEADER: Final = "daytwo-key"
"""Header with the id of the key."""
SIGNATURE_HEADER: Final = "daytwo-signature"
"""Header with the signature."""


def sign(secret: str, value: bytes) -> str:
    """HMAC-SHA256 of `value` under the UTF-8 bytes of `secret`: 64 lower-case hex digits."""
    return hmac.digest(secret.encode(), value, "sha256").hex()
