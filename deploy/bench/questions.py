"""What is asked: requests of each scenario, and the configuration they need. Pure; equal seeds make equal requests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Final, Literal

from daytwo.records import (
    CachePolicy,
    DeploymentConfigured,
    DocumentSubmitted,
    Grounding,
    Message,
    PriceConfigured,
    RequestSubmitted,
    TenantConfigured,
)

Scenario = Literal["uncached", "missed", "exact", "semantic", "grounded"]
SCENARIOS: Final[tuple[Scenario, ...]] = ("uncached", "missed", "exact", "semantic", "grounded")

KNOWN_QUESTIONS: Final = 200
"""Questions the cached scenarios repeat."""
WORDS_PER_QUESTION: Final = 12
DOCUMENTS: Final = 60
WORDS_PER_DOCUMENT: Final = 600

_VOCABULARY: Final = """
account adapter address album amount anchor answer archive arrow article atlas badge balance banner basket battery bearing
bicycle blanket border bottle branch bridge bucket budget cabinet cable camera candle canvas carpet castle ceiling chamber
channel charger cheese circuit climate column compass concert contract copper cotton counter courier cradle crystal curtain
customer dealer delivery desert device diagram dinner discount display doctor drawer engine envelope estate evening exchange
factory farmer feather festival filter finger forest fountain freight furnace gallery garden gateway glacier granite guitar
hammer harbour harvest helmet highway horizon hospital hotel invoice island jacket journal kettle kitchen ladder lantern
lecture lemon library license lighthouse machine magnet manual market meadow medal mirror missile monitor mountain museum
napkin needle network notebook novel ocean office orchard oven package paint parcel passport pasture payment pencil pepper
pilot planet pocket poem portrait postcard potato printer prison quarry quilt rabbit radio railway receipt refund ribbon
river rocket saddle sailor salary school season senator shadow shelter shipment silver socket stadium station statue student
sugar surgeon tailor teacher temple theatre thunder ticket timber tunnel turbine umbrella uniform valley vehicle velvet
village violin voucher wagon warranty weather window winter wizard yogurt
"""
_WORDS: Final = _VOCABULARY.split()


def known_questions() -> list[list[str]]:
    """The words of the questions that are asked again and again."""
    rng = random.Random(1)
    return [rng.sample(_WORDS, WORDS_PER_QUESTION) for _ in range(KNOWN_QUESTIONS)]


def requests(scenario: Scenario, run: str) -> Iterator[RequestSubmitted]:
    """Requests without end. `run` begins their ids and chooses their questions."""
    rng = random.Random(run)
    known = known_questions()
    number = 0
    while True:
        number += 1
        words = rng.choice(known) if scenario in ("exact", "semantic") else rng.sample(_WORDS, WORDS_PER_QUESTION)
        if scenario == "semantic":
            # The same words in another order: another text, nearly the same vector.
            words = rng.sample(words, len(words))
        yield request(scenario, f"{run}-{number}", words)


def warming(scenario: Scenario, run: str) -> list[RequestSubmitted]:
    """What must have been answered before the scenario is measured."""
    if scenario not in ("exact", "semantic"):
        return []
    return [request(scenario, f"{run}-{number}", words) for number, words in enumerate(known_questions())]


def request(scenario: Scenario, request_id: str, words: list[str]) -> RequestSubmitted:
    return RequestSubmitted(
        request_id=request_id,
        tenant=f"bench-{scenario}",
        user="load",
        messages=(
            Message(role="system", content="You are a patient assistant of a parts shop. Answer in one sentence."),
            Message(role="user", content=f"How do {' '.join(words)} belong together?"),
        ),
        model="bench",
        max_tokens=64,
        grounding=Grounding(collection="bench", top_k=3) if scenario == "grounded" else None,
    )


def configuration(provider_url: str) -> list[TenantConfigured | DeploymentConfigured | PriceConfigured]:
    """Tenants of all scenarios, the mock provider as the one deployment, its price."""
    tenants = [TenantConfigured(tenant=f"bench-{scenario}", cache=_cache(scenario)) for scenario in SCENARIOS]
    deployment = DeploymentConfigured(deployment="bench", provider="mock", model="mock", base_url=provider_url, aliases=("bench",))
    return [*tenants, deployment, price()]


def price() -> PriceConfigured:
    """Of the mock provider's one model."""
    return PriceConfigured(
        provider="mock",
        model="mock",
        valid_from_ms=0,
        input_nano_per_mtok=150_000_000,
        cached_input_nano_per_mtok=75_000_000,
        output_nano_per_mtok=600_000_000,
    )


def _cache(scenario: Scenario) -> CachePolicy:
    """`uncached` leaves the cache out, as the proxy it is held against has none; every other scenario asks and teaches it.
    0.9 is what the same words in another order reach.
    """
    return CachePolicy(enabled=scenario != "uncached", threshold=0.9 if scenario == "semantic" else 0.95)


def documents(run: str) -> list[DocumentSubmitted]:
    """What the grounded scenario is grounded in."""
    rng = random.Random(2)
    return [
        DocumentSubmitted(
            document_id=f"{run}-{number}",
            tenant="bench-grounded",
            collection="bench",
            source=f"document-{number}",
            content=_text(rng).encode(),
            title=f"Document {number}",
        )
        for number in range(DOCUMENTS)
    ]


def _text(rng: random.Random) -> str:
    sentences = [" ".join(rng.choices(_WORDS, k=15)).capitalize() + "." for _ in range(WORDS_PER_DOCUMENT // 15)]
    return "\n\n".join(" ".join(sentences[start : start + 5]) for start in range(0, len(sentences), 5))
