"""Clients that ask, repeat themselves, change documents, and never give up on a record until Kafka has it."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from daytwo.broker import Outgoing, Sender, outgoing
from daytwo.errors import RetryableError
from daytwo.fate import REQUEST_ID_HEADER
from daytwo.kafka import KafkaBroker
from daytwo.records import (
    CachePolicy,
    Cap,
    DeploymentConfigured,
    DocumentSubmitted,
    Grounding,
    Message,
    PriceConfigured,
    RequestSubmitted,
    SigningKey,
    TenantConfigured,
)
from daytwo.signing import KEY_HEADER, SIGNATURE_HEADER, sign

KEY = SigningKey(id="k1", secret="a secret of the tenant")
DEADLINE_MS = 60_000
MODELS = ("mock-1", "mock-2")


def configuration(provider: str) -> list[Any]:
    """The tenants of the load, and one provider under two names, the second the fallback of the first."""
    exact = CachePolicy(enabled=True, threshold=2.0, ttl_s=3600)
    given: dict[str, Any] = {"default_timeout_ms": DEADLINE_MS}
    tenants = [
        TenantConfigured(tenant="plain", cache=CachePolicy(enabled=False), **given),
        TenantConfigured(tenant="cached", cache=exact, **given),
        TenantConfigured(tenant="signed", keys=(KEY,), cache=exact, **given),
        TenantConfigured(tenant="grounded", cache=CachePolicy(enabled=False), **given),
        TenantConfigured(tenant="poor", caps=(Cap(scope="tenant", period="day", limit_nano=3_000_000),), cache=exact, **given),
        TenantConfigured(tenant="probe", cache=CachePolicy(enabled=False), **given),
    ]
    deployments = [
        DeploymentConfigured(
            deployment=model, model=model, priority=place, provider="mock", base_url=provider, timeout_ms=4_000, aliases=("default",)
        )
        for place, model in enumerate(MODELS)
    ]
    prices = [
        PriceConfigured(
            provider="mock",
            model=model,
            valid_from_ms=0,
            input_nano_per_mtok=150_000_000,
            cached_input_nano_per_mtok=75_000_000,
            output_nano_per_mtok=600_000_000,
        )
        for model in MODELS
    ]
    return [*tenants, *deployments, *prices]


@dataclass(slots=True)
class Sent:
    """What Kafka has acknowledged, by tenant and id."""

    requests: set[tuple[str, str]] = field(default_factory=set)
    documents: set[tuple[str, str]] = field(default_factory=set)
    kinds: Counter[str] = field(default_factory=Counter)


def asked(name: str, rng: random.Random) -> Iterator[tuple[str, RequestSubmitted | DocumentSubmitted]]:
    """What one client sends, with the kind of each, without end."""
    earlier: list[RequestSubmitted] = []
    for number in itertools.count():
        identity = f"{name}-{number}"
        chance = rng.random()
        if chance < 0.04:
            yield "document", _document(identity, rng)
        elif chance < 0.12 and earlier:
            yield "the same again", rng.choice(earlier[-50:])
        elif chance < 0.14 and earlier:
            old = rng.choice(earlier[-50:])
            yield "a used id", question(old.tenant, old.request_id, f"Something else {number}")
        else:
            tenant = rng.choice(("plain", "plain", "cached", "cached", "signed", "grounded", "poor"))
            text = f"Question {rng.randrange(30)}" if tenant in ("cached", "signed") else f"Question {identity}"
            grounding = Grounding(collection="notes", top_k=3) if tenant == "grounded" else None
            one = question(tenant, identity, text, session=f"{name}-{rng.randrange(8)}", grounding=grounding)
            earlier.append(one)
            yield tenant, one


def question(tenant: str, request_id: str, text: str, **fields: Any) -> RequestSubmitted:
    return RequestSubmitted(request_id=request_id, tenant=tenant, messages=(Message(role="user", content=text),), max_tokens=32, **fields)


def _document(identity: str, rng: random.Random) -> DocumentSubmitted:
    text = " ".join(rng.choices(("topic", "broker", "offset", "group", "record", "budget", "answer"), k=80))
    return DocumentSubmitted(
        document_id=identity, tenant="grounded", collection="notes", source=f"note-{rng.randrange(12)}", content=text.encode()
    )


def addressed(record: RequestSubmitted | DocumentSubmitted) -> Outgoing:
    if isinstance(record, DocumentSubmitted):
        return outgoing(record)
    headers = {REQUEST_ID_HEADER: record.request_id.encode()}
    plain = outgoing(record, headers)
    if record.tenant != "signed":
        return plain
    signature = sign(KEY.secret, plain.value or b"")
    return outgoing(record, {**headers, KEY_HEADER: KEY.id.encode(), SIGNATURE_HEADER: signature.encode()})


async def send(sender: Sender, *records: Outgoing) -> None:
    """The same again until it is on the log: what a client does while Kafka is away."""
    while True:
        try:
            await sender.send(records)
            return
        except RetryableError:
            await asyncio.sleep(0.2)


async def client(name: str, kafka: str, rng: random.Random, per_second: float, sent: Sent) -> None:
    """Sends until it is cancelled, at random moments."""
    sender = KafkaBroker(kafka).sender()
    await sender.start()
    try:
        for kind, record in asked(name, rng):
            await send(sender, addressed(record))
            if isinstance(record, DocumentSubmitted):
                sent.documents.add((record.tenant, record.document_id))
            else:
                sent.requests.add((record.tenant, record.request_id))
            sent.kinds[kind] += 1
            await asyncio.sleep(rng.expovariate(per_second))
    finally:
        await sender.stop()
