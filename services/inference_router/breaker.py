"""A circuit breaker: keeps calls away from a deployment that fails, and finds out when it is well again. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

Health = Literal["well", "ill", "unclear"]
"""What a call says about the deployment; unclear: nothing."""

_SLOTS: Final = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakerPolicy:
    """When it opens, and for how long. Times in seconds."""

    failures: int = 5
    """Failures in a row that open it."""
    ratio: float = 0.5
    """Share of failures within the window that opens it."""
    ratio_calls: int = 20
    """Calls there must be in the window before the share counts."""
    window_s: float = 30.0
    open_s: float = 1.0
    """Time open at first; doubled with each probe that fails."""
    open_most_s: float = 60.0
    cool_down_most_s: float = 300.0
    """A provider that asks to stay away longer is asked again after this."""
    probe_poll_s: float = 0.2
    """While a probe is under way: when others look again."""


class Breaker:
    """Closed: calls go. Open: none. Half-open, after a time: one probe goes, and what it meets closes or opens it.

    A cool-down, asked for by the provider, shuts the door beside all this. `monotonic` gives seconds that never go back.
    """

    def __init__(self, policy: BreakerPolicy, monotonic: Callable[[], float]) -> None:
        self._policy = policy
        self._monotonic = monotonic
        self._generation = 0  # of the present state: what a call met counts only in the state in which it began
        self._in_a_row = 0
        self._window = _Window(policy.window_s)
        self._openings = 0
        self._open_until: float | None = None
        self._probing = False
        self._cool_until = float("-inf")

    @property
    def state(self) -> Literal["closed", "open", "half_open"]:
        if self._open_until is None:
            return "closed"
        return "open" if self._monotonic() < self._open_until else "half_open"

    def opens_in(self) -> float:
        """Seconds until a call may go; 0: now."""
        now = self._monotonic()
        wait = max(0.0, self._cool_until - now)
        if self._open_until is not None:
            wait = max(wait, self._policy.probe_poll_s if self._probing else self._open_until - now)
        return wait

    def enter(self) -> int | None:
        """A permit for one call, which `leave` takes back; None: no call may go. The first after an open time is the probe."""
        if self.opens_in() > 0:
            return None
        if self._open_until is not None:
            self._probing = True
        return self._generation

    def leave(self, permit: int, health: Health) -> None:
        """The call of `permit` ended. What began before the breaker last opened or closed says nothing any more."""
        if permit != self._generation:
            return
        if self._open_until is not None:
            self._probed(health)
        elif health == "well":
            self._in_a_row = 0
            self._window.add(self._monotonic(), failed=False)
        elif health == "ill":
            self._in_a_row += 1
            self._window.add(self._monotonic(), failed=True)
            if self._in_a_row >= self._policy.failures or self._share_is_too_high():
                self._open()

    def cool_down(self, seconds: float) -> None:
        """Nobody calls for that long. It is no fault."""
        self._cool_until = max(self._cool_until, self._monotonic() + min(seconds, self._policy.cool_down_most_s))

    def _share_is_too_high(self) -> bool:
        calls, failures = self._window.sums(self._monotonic())
        return calls >= self._policy.ratio_calls and failures >= self._policy.ratio * calls

    def _probed(self, health: Health) -> None:
        self._probing = False
        if health == "well":
            self._generation += 1
            self._open_until, self._openings, self._in_a_row = None, 0, 0
            self._window = _Window(self._policy.window_s)
        elif health == "ill":
            self._open()

    def _open(self) -> None:
        self._generation += 1
        # The exponent is bounded because a float is.
        open_s = min(self._policy.open_s * 2 ** min(self._openings, 32), self._policy.open_most_s)
        self._openings += 1
        self._open_until = self._monotonic() + open_s


class _Window:
    """Calls and failures of the last `span_s` seconds, in ten slots, so that its size does not grow with the traffic."""

    def __init__(self, span_s: float) -> None:
        self._slot_s = span_s / _SLOTS
        self._slots = [(-1, 0, 0)] * _SLOTS

    def add(self, now: float, *, failed: bool) -> None:
        number = int(now / self._slot_s)
        place = number % _SLOTS
        held, calls, failures = self._slots[place]
        if held != number:
            calls = failures = 0
        self._slots[place] = (number, calls + 1, failures + failed)

    def sums(self, now: float) -> tuple[int, int]:
        oldest = int(now / self._slot_s) - _SLOTS + 1
        kept = [slot for slot in self._slots if slot[0] >= oldest]
        return sum(slot[1] for slot in kept), sum(slot[2] for slot in kept)
