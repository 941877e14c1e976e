from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.records import SigningKey
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign
from services.ingest.signature import signature_refusal
from tests.ingest.builders import SIGNING, signed

VALUE = b"\0\0\0\0\1body"


def test_a_signature_is_hmac_sha256_in_lower_case_hex() -> None:
    assert sign("sëcret", VALUE) == hmac.new("sëcret".encode(), VALUE, hashlib.sha256).hexdigest()


@pytest.mark.parametrize(("key", "secret"), [("k1", "s1"), ("k2", "s2")])
def test_any_key_of_the_tenant_signs(key: str, secret: str) -> None:
    assert signature_refusal(SIGNING.keys, VALUE, signed(VALUE, key, secret)) is None


@pytest.mark.parametrize(
    "headers",
    [
        signed(VALUE, "k1", "s2"),
        signed(VALUE, "unknown", "s1"),
        signed(VALUE, "unknown", ""),
        signed(VALUE, " ", ""),
        {KEY_HEADER: b"k1", SIGNATURE_HEADER: sign("s1", VALUE).upper().encode()},
        {KEY_HEADER: b"k1", SIGNATURE_HEADER: sign("s1", VALUE)[:-1].encode()},
        {KEY_HEADER: b"\xff\xfe", SIGNATURE_HEADER: b"\xff" * 64},
    ],
)
def test_a_wrong_signature_is_refused(headers: dict[str, bytes]) -> None:
    refusal = signature_refusal(SIGNING.keys, VALUE, headers)
    assert refusal
    assert refusal.reason == "bad_signature"


@given(st.binary(), st.binary())
def test_a_signature_holds_for_its_bytes_only(value: bytes, other: bytes) -> None:
    assert (signature_refusal(SIGNING.keys, other, signed(value)) is None) == (value == other)


@pytest.mark.parametrize("key_id", ["", "k"])
def test_a_key_without_secret_signs_nothing(key_id: str) -> None:
    keys = (SigningKey(id=key_id, secret=""),)
    assert signature_refusal(keys, VALUE, signed(VALUE, key_id, "")) is not None


def test_without_keys_no_signature_is_looked_at() -> None:
    assert signature_refusal((), VALUE, {SIGNATURE_HEADER: b"rubbish"}) is None
