"""What a run is made of: who asks what and when, and what goes wrong and when. All of it follows from a seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal, TypeVar

from tests.simulation.providers import KINDS

T = TypeVar("T")

AskKind = Literal[
    "plain", "session", "equal", "grounded", "fresh", "uncached", "short", "invalid", "no_model", "stranger", "poor", "signed", "unsigned",
    "forged", "garbage", "reused", "repeat", "document", "removal", "neighbour", "tokens", "crowd", "hourly", "thrifty", "several", "rush",
]  # fmt: skip
"""tokens to several: of tenants with caps of that kind (submissions.py). rush: for a deployment that takes one at a time. reused: the id
of the first request with other content. repeat: the first request again, byte for byte."""

SERVICES: Final = ("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router")


@dataclass(frozen=True, slots=True)
class Ask:
    """One submission. `number` names it, and stays the same when others are left out."""

    number: int
    kind: AskKind
    at_s: float


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong from `at_s` on, for `for_s` seconds. `what` says of which process, call or kind."""

    number: int
    kind: str
    what: str
    at_s: float
    for_s: float
    strength: float = 1.0
    """A probability, a number of handles or of offsets, or milliseconds of skew."""

    def __str__(self) -> str:
        return f"{self.kind} {self.what} from {self.at_s:.2f} s for {self.for_s:.2f} s ({self.strength:g})"


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    asks: tuple[Ask, ...]
    faults: tuple[Fault, ...] = ()
    replicas: tuple[tuple[str, int], ...] = ()
    """Services of which there are more than one at the start."""
    calm: bool = False
    idempotent: bool = False

    def keeping(self, asks: set[int] | None, faults: set[int] | None) -> Scenario:
        """The same with some of its requests and faults only; None: all."""
        return replace(
            self,
            asks=tuple(ask for ask in self.asks if asks is None or ask.number in asks),
            faults=tuple(fault for fault in self.faults if faults is None or fault.number in faults),
        )

    def alone(self) -> Scenario:
        """The same with one replica of each service."""
        return replace(self, replicas=())


_ASKS: Final[tuple[tuple[AskKind, int], ...]] = (
    ("plain", 8), ("session", 8), ("equal", 8), ("grounded", 3), ("fresh", 2), ("uncached", 4), ("short", 4), ("invalid", 1),
    ("no_model", 1), ("stranger", 1), ("poor", 6), ("signed", 2), ("unsigned", 1), ("forged", 1), ("garbage", 1), ("reused", 2),
    ("repeat", 3), ("document", 4), ("removal", 1), ("neighbour", 2),
)  # fmt: skip
_CAPPED: Final[tuple[AskKind, ...]] = ("tokens", "crowd", "hourly", "thrifty", "several")


def scenario(seed: int) -> Scenario:
    """The scenario of a seed."""
    rng = Random(f"scenario {seed}")
    asks = tuple(Ask(number, kind, at_s) for number, (kind, at_s) in enumerate(_asks(rng)))
    rush = asks[0].kind == "rush"
    replicas = tuple((service, 2) for service in SERVICES if rng.random() < (0.7 if rush and service == "ingest" else 0.15))
    faults = tuple(_fault(rng, number, dict(replicas)) for number in range(rng.choice((0, 1, 1, 2, 2, 3, 4))))
    if rng.random() < (0.3 if asks[0].kind in _CAPPED else 0.03):
        faults += _lost_on_the_way(rng, len(faults))
        asks += _around(rng, asks[0].kind, faults[-1].at_s, len(asks))
    if rush and rng.random() < 0.7:
        faults += (_at_the_door(rng, len(faults)),)
    return Scenario(seed, asks, faults, replicas, idempotent=rng.random() < 0.3)


def _asks(rng: Random) -> list[tuple[AskKind, float]]:
    """Mostly of all kinds; sometimes many at one cap, and seldom more than a deployment can answer."""
    theme = rng.random()
    if theme < 0.06:
        return [("rush", round(0.3 + number * 0.2 * (0.5 + rng.random()), 3)) for number in range(rng.randint(9, 13))]
    if theme < 0.30:
        kinds: list[tuple[AskKind, int]] = [(rng.choice(_CAPPED), 5), (rng.choice(_CAPPED), 1), ("repeat", 1)]
        return [(_pick(rng, kinds), _moment(rng)) for _ in range(rng.randint(3, 6))]
    return [(_pick(rng, _ASKS), _moment(rng)) for _ in range(rng.randint(2, 6))]


def _lost_on_the_way(rng: Random, number: int) -> tuple[Fault, Fault, Fault]:
    """The ledger loses what it has just granted, while the log does not have it yet. Providers are slow, so that others hold their
    worst case when it comes."""
    at_s = 0.3 + rng.random() * 4
    late = Fault(number, "slow", "send request-admitted", round(at_s, 3), 3.0, 0.6)
    slow = Fault(number + 1, "mood", ":slow", round(at_s, 3), 8.0, 1.0)
    kind = rng.choice(("ledger_emptied", "ledger_older"))
    return late, slow, Fault(number + 2, kind, "", round(at_s + 0.3 + rng.random(), 3), round(0.2 + rng.random(), 3))


def _around(rng: Random, kind: AskKind, lost_at_s: float, number: int) -> tuple[Ask, ...]:
    """At caps: two that are granted as the ledger forgets it, and three others for which there is room in what is left of it."""
    moments = [lost_at_s - 0.75 + rng.random() * 0.4 for _ in range(2)] + [lost_at_s + 1.5 + rng.random() * 3 for _ in range(3)]
    return tuple(Ask(number + each, kind, round(max(0.1, at_s), 3)) for each, at_s in enumerate(moments if kind in _CAPPED else ()))


def _at_the_door(rng: Random, number: int) -> Fault:
    """What has been decided by one ingest comes to another, that knows the queue as well."""
    kind, what = rng.choice((("kill", "ingest-0"), ("rebalance", "ingest"), ("rewind", "ingest"), ("scale_up", "ingest")))
    return Fault(number, kind, what, round(1.5 + rng.random() * 2.5, 3), 0.0, float(rng.choice((1, 3, 5))))


def _moment(rng: Random) -> float:
    """Requests come in bursts: what meets on its way is what may go wrong."""
    return round(rng.choice((0.3, 1.0, 2.0, 3.5)) + rng.random() ** 2 * 0.8, 3)


def _fault(rng: Random, number: int, replicas: dict[str, int]) -> Fault:
    kind = _pick(rng, [(kind, weight) for kind, (weight, _) in _FAULTS.items()])
    what, for_s, strength = _FAULTS[kind][1](rng, replicas)
    return Fault(number, kind, what, round(rng.random() * 6, 3), round(for_s, 3), strength)


Draw = Callable[[Random, dict[str, int]], tuple[str, float, float]]


def _process(rng: Random, replicas: dict[str, int]) -> str:
    service = _pick(rng, [("ingest", 1), ("cost-meter", 2), ("embedder", 1), ("cache", 2), ("retriever", 1), ("inference-router", 4)])
    return f"{service}-{rng.randrange(replicas.get(service, 1))}"


def _crash(rng: Random, replicas: dict[str, int]) -> tuple[str, float, float]:
    return _process(rng, replicas), 0.0, float(rng.randint(60, 900))


def _held(rng: Random, replicas: dict[str, int]) -> tuple[str, float, float]:
    return _process(rng, replicas), rng.choice((0.5, 3.0, 11.0, 14.0)) * (0.5 + rng.random()), 1.0


def _calls(*names: str) -> Draw:
    def draw(rng: Random, replicas: dict[str, int]) -> tuple[str, float, float]:
        return rng.choice(names), 0.5 + rng.random() * 5, rng.choice((0.1, 0.3, 0.6))

    return draw


def _mood(rng: Random, replicas: dict[str, int]) -> tuple[str, float, float]:
    kind = rng.choice(KINDS)
    return f"{rng.choice(('', 'east', 'west'))}:{kind}", 1 + rng.random() * 6, rng.choice((0.3, 0.6, 1.0))


def _service(rng: Random, replicas: dict[str, int]) -> tuple[str, float, float]:
    return rng.choice(SERVICES), 1 + rng.random() * 8, 1.0


_SENT: Final = tuple(f"send {topic}" for topic in ("request-", "attempt-", "chunk-", "document-", "answer-", "dead-letter", ""))
_FAULTS: Final[dict[str, tuple[int, Draw]]] = {
    "crash": (12, _crash),
    "pause": (6, _held),
    "kill": (4, lambda rng, replicas: (_process(rng, replicas), 0.0, 1.0)),
    "kill_all": (1, lambda rng, replicas: ("", 0.0, 1.0)),
    "unheard": (6, _calls(*_SENT, "commit", "ledger", "answers", "index")),
    "lost": (5, _calls(*_SENT, "commit", "ledger", "answers", "index", "read")),
    "slow": (5, _calls("ledger", "answers", "index", "commit", "send request-", "send attempt-", "send request-admitted")),
    "broker_down": (3, lambda rng, replicas: ("", 0.5 + rng.random() * 5, 1.0)),
    "away": (4, lambda rng, replicas: (rng.choice(("ledger", "answers", "index")), 0.5 + rng.random() * 6, 1.0)),
    "emptied": (1, lambda rng, replicas: ("answers", 0.0, 1.0)),
    "mood": (10, _mood),
    "rebalance": (6, _service),
    "rewind": (3, lambda rng, replicas: (rng.choice(SERVICES), 0.0, float(rng.choice((1, 3, 1000))))),
    "scale_up": (6, _service),
    "scale_down": (3, _service),
    "skew": (3, lambda rng, replicas: (_process(rng, replicas), 0.0, rng.choice((-5000.0, -300.0, 300.0, 5000.0)))),
    "ledger_emptied": (2, lambda rng, replicas: ("", 0.0, 1.0)),
    "ledger_restarted": (2, lambda rng, replicas: ("", 0.0, 1.0)),
    "ledger_older": (4, lambda rng, replicas: ("", 0.1 + rng.random() ** 2 * 5, 1.0)),
    "clock_jump": (2, lambda rng, replicas: (_process(rng, replicas), 0.0, rng.choice((-7000.0, -900.0, 900.0, 7000.0)))),
    "cap_lowered": (3, lambda rng, replicas: (rng.choice(("poor", *_CAPPED)), 0.0, 1.0)),
    "tenant_gone": (2, lambda rng, replicas: (rng.choice(("acme", *_CAPPED)), rng.choice((0.5, 3.0, 100.0)), 1.0)),
    "throttled": (2, lambda rng, replicas: (rng.choice(("acme", *_CAPPED)), 0.5 + rng.random() * 5, 1.0)),
    "tenant_off": (1, lambda rng, replicas: ("", 0.0, 1.0)),
    "deployment_off": (1, lambda rng, replicas: (rng.choice(("east", "west")), 0.0, 1.0)),
    "poison": (1, lambda rng, replicas: (rng.choice(SERVICES), 6.0, 1.0)),
}


def _pick(rng: Random, weighted: Sequence[tuple[T, int]]) -> T:
    return rng.choices([each for each, _ in weighted], [weight for _, weight in weighted])[0]
