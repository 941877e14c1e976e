"""Which calls go wrong, and how: rules set while the mock runs, and model names that always fail."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from services.mock_provider.distributions import read_number
from services.mock_provider.errors import InvalidSettingError

LONGEST_WAIT_MS = 600_000


class FaultKind(StrEnum):
    """What goes wrong."""

    NONE = "none"  # nothing; a rule of this kind with a `count` lets calls pass before the next rule bites
    STATUS_429 = "status_429"  # too many requests, with Retry-After
    STATUS_500 = "status_500"
    STATUS_503 = "status_503"
    HANG = "hang"  # no byte comes; the connection is closed after `after_ms`
    CUT_BODY = "cut_body"  # half of the body comes; the connection is closed after `after_ms`
    SLOW = "slow"  # a right answer, `delay_ms` late
    MALFORMED_JSON = "malformed_json"  # status 200 and a body that is not JSON
    NO_USAGE = "no_usage"  # a right answer without the field `usage`
    OVERBILL = "overbill"  # a right answer, billed and reported with `factor` times its tokens


_STATUS = MappingProxyType({FaultKind.STATUS_429: 429, FaultKind.STATUS_500: 500, FaultKind.STATUS_503: 503})


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRule:
    """A fault and the calls it happens to.

    `model` is an exact name (None: every model), `count` how often it happens at most (None: always).
    `delay_ms` passes before the fault shows, beside the usual latency; `after_ms` is how long a hang lasts or
    half a body stays before the connection is closed. `charged`: whether the call is on the bill.
    """

    kind: FaultKind
    charged: bool
    probability: float = 1.0
    model: str | None = None
    count: int | None = None
    retry_after_s: float | None = None
    delay_ms: float = 0.0
    after_ms: float = 0.0
    factor: float = 3.0

    @property
    def status(self) -> int | None:
        """The HTTP status the client gets; None when it gets none."""
        return None if self.kind is FaultKind.HANG else _STATUS.get(self.kind, 200)

    def as_json(self) -> dict[str, object]:
        """What `read_rule` reads this rule from."""
        return {
            "kind": self.kind.value,
            "probability": self.probability,
            "model": self.model,
            "count": self.count,
            "retry_after": self.retry_after_s,
            "delay_ms": self.delay_ms,
            "after_ms": self.after_ms,
            "factor": self.factor,
            "charged": self.charged,
        }


HEALTHY = FaultRule(kind=FaultKind.NONE, charged=True)


@dataclass(slots=True)
class _ActiveRule:
    rule: FaultRule
    uses: int = 0


@dataclass(slots=True)
class Faults:
    """The rules in force, in order: the first that fits a call and whose coin falls on it wins."""

    _active: list[_ActiveRule] = field(default_factory=list)

    def replace(self, rules: Sequence[FaultRule]) -> None:
        """Put `rules` in force instead of the present ones; their counts start anew."""
        self._active = [_ActiveRule(rule) for rule in rules]

    def choose(self, model: str, coin: Callable[[], float]) -> FaultRule:
        """The fault of a call to `model`, often HEALTHY; uses up one of the rule's `count`.

        `coin` gives a number in [0, 1) and is thrown only for a rule with a probability below 1. A rule set at run
        time goes before one that the model's name asks for.
        """
        for active in self._active:
            rule = active.rule
            if rule.model is not None and rule.model != model:
                continue
            if rule.count is not None and active.uses >= rule.count:
                continue
            if rule.probability >= 1.0 or coin() < rule.probability:
                active.uses += 1
                return rule
        return _SUFFIX_RULES.get(model.rpartition("-")[2], HEALTHY)

    def as_json(self) -> list[dict[str, object]]:
        """The rules in force, each with how often it has been used."""
        return [{**active.rule.as_json(), "uses": active.uses} for active in self._active]


def read_rules(value: object) -> list[FaultRule]:
    """The rules that a JSON list describes. Raises InvalidSettingError, naming the rule's place and field."""
    if not isinstance(value, list):
        raise InvalidSettingError("faults: needs a JSON list of rules")
    return [read_rule(rule, f"faults[{place}]") for place, rule in enumerate(value)]


def read_rule(value: object, name: str) -> FaultRule:
    """The rule that a JSON object describes; what it leaves out has the kind's default. Raises InvalidSettingError."""
    if not isinstance(value, Mapping):
        raise InvalidSettingError(f"{name}: needs a JSON object")
    known = _DEFAULTS.keys()
    unknown = value.keys() - known
    if unknown:
        raise InvalidSettingError(f"{name}: unknown field {min(unknown)!r}; known: {', '.join(sorted(known))}")
    kind = _read_kind(value.get("kind"), name)
    given = {**_DEFAULTS, **_defaults_of(kind), **value}
    probability = read_number(given["probability"], f"{name}.probability")
    if probability > 1:
        raise InvalidSettingError(f"{name}.probability: needs to be at most 1")
    if not isinstance(given["charged"], bool):
        raise InvalidSettingError(f"{name}.charged: needs true or false")
    retry_after = given["retry_after"]
    return FaultRule(
        kind=kind,
        charged=given["charged"],
        probability=probability,
        model=_read_model(given["model"], name),
        count=_read_count(given["count"], name),
        retry_after_s=None if retry_after is None else read_number(retry_after, f"{name}.retry_after"),
        delay_ms=_read_wait(given["delay_ms"], f"{name}.delay_ms"),
        after_ms=_read_wait(given["after_ms"], f"{name}.after_ms"),
        factor=read_number(given["factor"], f"{name}.factor"),
    )


_DEFAULTS: Mapping[str, object] = MappingProxyType(
    {
        "kind": None,
        "probability": 1.0,
        "model": None,
        "count": None,
        "retry_after": None,
        "delay_ms": 0.0,
        "after_ms": 0.0,
        "factor": 3.0,
        # An answer that was computed is charged, whether or not it arrives whole.
        "charged": True,
    }
)


def _defaults_of(kind: FaultKind) -> Mapping[str, object]:
    """Where a kind's defaults differ from those of all."""
    if kind is FaultKind.STATUS_429:
        return {"charged": False, "retry_after": 1}
    if kind in _STATUS:
        return {"charged": False}
    if kind is FaultKind.HANG:
        return {"after_ms": LONGEST_WAIT_MS}
    if kind is FaultKind.SLOW:
        return {"delay_ms": 5_000.0}
    return {}


def _read_kind(value: object, name: str) -> FaultKind:
    try:
        return FaultKind(value)  # type: ignore[arg-type]  # a value of another type is a ValueError, too
    except ValueError:
        raise InvalidSettingError(f"{name}.kind: needs one of {', '.join(FaultKind)}") from None


def _read_wait(value: object, name: str) -> float:
    wait_ms = read_number(value, name)
    if wait_ms > LONGEST_WAIT_MS:
        raise InvalidSettingError(f"{name}: needs to be at most {LONGEST_WAIT_MS}, so that nothing waits for ever")
    return wait_ms


def _read_model(value: object, name: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise InvalidSettingError(f"{name}.model: needs a model's name or null")
    return value


def _read_count(value: object, name: str) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
        raise InvalidSettingError(f"{name}.count: needs a whole number >= 0 or null")
    return value


# For clients whose configuration is static: any model whose name ends so always has that fault.
_SUFFIX_RULES: Mapping[str, FaultRule] = MappingProxyType(
    {
        suffix: read_rule({"kind": kind}, suffix)
        for suffix, kind in (
            ("429", FaultKind.STATUS_429),
            ("500", FaultKind.STATUS_500),
            ("503", FaultKind.STATUS_503),
            ("hang", FaultKind.HANG),
            ("cut", FaultKind.CUT_BODY),
            ("slow", FaultKind.SLOW),
            ("malformed", FaultKind.MALFORMED_JSON),
            ("nousage", FaultKind.NO_USAGE),
            ("overbill", FaultKind.OVERBILL),
        )
    }
)
