"""Whether a record is signed as its tenant asks."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from typing import Final

from daytwo.records import SigningKey
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from services.ingest.refusal import Refusal

_NO_KEY: Final = SigningKey(id="", secret="")


def signature_refusal(keys: Sequence[SigningKey], value: bytes, headers: Mapping[str, bytes]) -> Refusal | None:
    """Why `value` does not count as signed with one of `keys`; None where it does, or where there are no keys.

    An unknown key takes as long as a wrong signature: both compute one and compare it in constant time.
    """
    if not keys:
        return None
    key_id, signature = headers.get(KEY_HEADER), headers.get(SIGNATURE_HEADER)
    if not key_id or not signature:
        return Refusal("missing_signature", f"the tenant signs: the headers {KEY_HEADER} and {SIGNATURE_HEADER} are needed")
    # A key without a secret would let everyone sign; it is as good as unknown.
    key = next((key for key in keys if key.id.encode() == key_id and key.secret), _NO_KEY)
    equal = hmac.compare_digest(sign(key.secret, value).encode(), signature)
    if equal and key is not _NO_KEY:
        return None
    return Refusal("bad_signature", "not the signature of these bytes with that key of the tenant")
