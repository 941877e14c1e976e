"""Which requests are refused because there are too many: early, with a hint when to try again. Pure.

Two rules, both about what a request let in now would have waited before its provider is called (queueing.py), the time before
this door included:

- it is refused where that is more than its share of the time that it has: it would be worked on in vain;
- once the wait was above the target, or somebody was refused, for longer than patience, the queue does not go away by itself (a
  service that was away and came back works off what it missed within that time): then the target is the most that anybody waits.

Requests of the lane `batch` wait half as long, so they go first. A queue that only stands, is refused from what it gets, and
never from what it has: whatever was let in stays in. Sources: CoDel (RFC 8289) for the target and the patience, which tell a burst
from a standing queue; Little's law for the wait.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from daytwo.records import RequestSubmitted
from services.ingest.queueing import Queue

MOST_MODELS: Final = 256
"""Models with a queue of their own; those that come later share one. Whoever asks may name any model."""
REMEMBERED: Final = 32_768
"""Decisions that are remembered, so that a request sent twice is decided once."""
LOST_MS: Final = 600_000
"""A probe of which nothing is heard for so long is counted out."""
MOST_AT_ONCE_MS: Final = 1_000
"""Of a time without requests, so much counts as time in which the queue was too long."""
LATELY_MS: Final = 2_000
"""A refusal is not over before so long."""
LEAST_HINT_MS: Final = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class SheddingRules:
    """Times in milliseconds."""

    enabled: bool = True
    deadline_share: float = 0.5
    target_ms: int = 3_000
    patience_ms: int = 30_000


@dataclass(slots=True)
class _Model:
    """The queue before a model. `pressed_ms`: how much longer, of late, it was too long than not; 0 to patience."""

    queue: Queue
    standing: bool = False
    pressed_ms: int = 0
    seen_ms: int = 0
    refused_ms: int = 0


@dataclass(slots=True)
class Shedding:
    """Decides request after request, and hears from the log what became of those let in."""

    rules: SheddingRules
    _models: dict[str, _Model] = field(default_factory=dict)
    _probes: dict[bytes, tuple[Queue, int]] = field(default_factory=dict)
    """The queue each is in, and since when."""
    _decided: OrderedDict[tuple[str, str], int | None] = field(default_factory=OrderedDict)
    _owned_since_ms: dict[int, int] = field(default_factory=dict)

    def own(self, partition: int) -> None:
        """The partition is ours from its next request on. What arrived before that may have been let in by whoever had it then."""
        self._owned_since_ms.pop(partition, None)

    def decide(self, request: RequestSubmitted, *, partition: int, arrived_ms: int, now_ms: int) -> int | None:
        """None: it is let in. Else it is refused, and this is after how many milliseconds it may be tried again.

        A request that comes again gets the first decision: it may be on its way already, and its first result is its only one.
        """
        if not self.rules.enabled:
            return None
        identity = (request.tenant, request.request_id)
        if identity in self._decided:
            return self._decided[identity]
        model = self._model(request.model)
        hint = self._hint(model, request, arrived_ms=arrived_ms, now_ms=now_ms)
        if arrived_ms < self._owned_since_ms.setdefault(partition, now_ms):
            hint = None
        if hint is None:
            self._let_in(model.queue, request.request_id.encode(), now_ms)
        self._decided[identity] = hint
        if len(self._decided) > REMEMBERED:
            self._decided.popitem(last=False)
        return hint

    def taken_up(self, request_id: bytes, at_ms: int) -> None:
        """An attempt of the request began."""
        if (probe := self._probes.pop(request_id, None)) is not None:
            probe[0].taken_up(request_id, at_ms)

    def ended(self, request_id: bytes, at_ms: int) -> None:
        """The request has its result."""
        if (probe := self._probes.pop(request_id, None)) is not None:
            probe[0].ended(request_id, at_ms)

    def _model(self, name: str) -> _Model:
        if name not in self._models and len(self._models) >= MOST_MODELS:
            name = ""
        if name not in self._models:
            self._models[name] = _Model(Queue(self.rules.target_ms // 2))
        return self._models[name]

    def _let_in(self, queue: Queue, request_id: bytes, now_ms: int) -> None:
        if request_id in self._probes or not queue.let_in(request_id, now_ms):
            return
        self._probes[request_id] = (queue, now_ms)
        oldest, (its, since_ms) = next(iter(self._probes.items()))
        if now_ms - since_ms > LOST_MS:
            its.lost(oldest)
            del self._probes[oldest]

    def _hint(self, model: _Model, request: RequestSubmitted, *, arrived_ms: int, now_ms: int) -> int | None:
        before_ms = model.queue.wait_ms(now_ms)
        # What it has waited for us counts, too, but only where a queue is known: the clock that says when it arrived is the client's.
        wait_ms = before_ms + now_ms - arrived_ms if before_ms else 0.0
        most_ms = self.rules.deadline_share * (request.deadline_ms - arrived_ms)
        if model.standing:
            most_ms = min(most_ms, self.rules.target_ms)
        if request.lane == "batch":
            most_ms /= 2
        if refused := wait_ms > most_ms:
            model.refused_ms = now_ms
        # A queue that is short because somebody is refused has not gone away.
        pressed = now_ms - model.refused_ms < LATELY_MS or wait_ms > self.rules.target_ms
        self._watch(model, pressed, now_ms)
        return max(LEAST_HINT_MS, round(wait_ms)) if refused else None

    def _watch(self, model: _Model, pressed: bool, now_ms: int) -> None:
        """The queue is standing once it was too long for patience, and no longer once it was not for as long; moments do not matter."""
        passed_ms = max(0, now_ms - model.seen_ms)
        model.seen_ms = max(now_ms, model.seen_ms)
        change_ms = min(passed_ms, MOST_AT_ONCE_MS) if pressed else -passed_ms
        model.pressed_ms = min(max(model.pressed_ms + change_ms, 0), self.rules.patience_ms)
        if model.pressed_ms in (0, self.rules.patience_ms):
            model.standing = model.pressed_ms > 0
