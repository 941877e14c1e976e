"""What is refused when there is too much: a road is played in steps of ten milliseconds, first come, first served."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.ingest.shedding import MOST_MODELS, REMEMBERED, Shedding, SheddingRules
from tests.ingest.builders import NOW_MS, request

STEP_MS = 10
HEARD_AFTER_MS = 300
"""What a consumer that is in no hurry, and the way over Kafka, take."""

PerSecond = Callable[[float], float]


@dataclass
class Road:
    """`arrivals` and `capacity` are rates at a moment (seconds from the beginning). A request is in time where its call can begin
    two seconds before its deadline."""

    arrivals: PerSecond
    capacity: PerSecond
    deadline_ms: int = 60_000
    batch_share: float = 0.0
    shedding: Shedding = field(default_factory=lambda: Shedding(SheddingRules()))
    ends: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Of (lane, how it ended): in time, late, refused."""
    worst_wait_ms: int = 0

    def play(self, seconds: float, *, judged_from: float = 0.0) -> None:
        queue: deque[tuple[int, str, bytes]] = deque()
        heard: deque[tuple[int, bytes]] = deque()
        owed = room = 0.0
        number = 0
        for now_ms in range(NOW_MS, NOW_MS + int(seconds * 1000), STEP_MS):
            at_s = (now_ms - NOW_MS) / 1000
            while heard and heard[0][0] + HEARD_AFTER_MS <= now_ms:
                at_ms, identity = heard.popleft()
                self.shedding.taken_up(identity, at_ms)
            owed += self.arrivals(at_s) * STEP_MS / 1000
            while owed >= 1:
                owed -= 1
                number += 1
                lane: Literal["batch", "interactive"] = "batch" if number % 100 < 100 * self.batch_share else "interactive"
                asked = request(request_id=f"r-{number}", lane=lane, deadline_ms=now_ms + self.deadline_ms)
                if self.shedding.decide(asked, partition=0, arrived_ms=now_ms, now_ms=now_ms) is None:
                    queue.append((now_ms, lane, asked.request_id.encode()))
                elif at_s >= judged_from:
                    self.ends[lane, "refused"] += 1
            more = self.capacity(at_s) * STEP_MS / 1000
            room = min(room + more, more + 1)
            while queue and room >= 1:
                room -= 1
                since_ms, lane_, identity = queue.popleft()
                heard.append((now_ms, identity))
                self.worst_wait_ms = max(self.worst_wait_ms, now_ms - since_ms)
                if at_s >= judged_from:
                    self.ends[lane_, "in time" if now_ms - since_ms <= self.deadline_ms - 2_000 else "late"] += 1

    def count(self, end: str) -> int:
        return sum(count for (_, how), count in self.ends.items() if how == end)


@settings(deadline=None, max_examples=15)
@given(st.floats(20, 600), st.floats(0.05, 0.95))
def test_nobody_is_refused_where_there_is_enough_for_all(capacity: float, used: float) -> None:
    road = Road(lambda _: capacity * used, lambda _: capacity)

    road.play(40)

    assert road.count("refused") == 0


@settings(deadline=None, max_examples=15)
@given(st.floats(100, 600), st.floats(0.1, 0.66), st.floats(1, 10))
def test_a_service_that_is_away_for_ten_seconds_makes_no_refusal(capacity: float, used: float, away: float) -> None:
    road = Road(lambda _: capacity * used, lambda at: 0.0 if 20 <= at < 20 + away else capacity)

    road.play(80)

    assert road.count("refused") == 0
    assert road.worst_wait_ms > away * 800


def test_a_burst_that_can_be_worked_off_in_time_is_let_in_whole() -> None:
    road = Road(lambda at: 5_000.0 if 10 <= at < 12 else 10.0, lambda _: 500.0)

    road.play(60)

    assert road.count("refused") == 0
    assert road.worst_wait_ms > 15_000


@pytest.mark.parametrize("deadline_ms", [10_000, 60_000])
@pytest.mark.parametrize("times", [1.3, 2.0, 5.0])
def test_of_too_much_as_much_is_answered_in_time_as_can_be(times: float, deadline_ms: int) -> None:
    road = Road(lambda _: 300.0 * times, lambda _: 300.0, deadline_ms=deadline_ms)

    road.play(240, judged_from=30)

    assert road.count("in time") >= 0.97 * 300 * 210
    assert road.count("late") == 0
    assert road.count("refused") > 0


@pytest.mark.parametrize("period_s", [4, 14, 40])
def test_what_can_be_done_may_change_threefold_all_the_time(period_s: float) -> None:
    road = Road(lambda _: 600.0, lambda at: 150.0 if at % period_s < period_s / 2 else 450.0, deadline_ms=10_000)

    road.play(280, judged_from=40)

    assert road.count("in time") >= 0.8 * 300 * 240
    assert road.count("late") <= 0.05 * 300 * 240


def test_without_shedding_the_same_load_is_worked_on_in_vain() -> None:
    off = Shedding(SheddingRules(enabled=False))
    road = Road(lambda _: 600.0, lambda _: 300.0, deadline_ms=10_000, shedding=off)

    road.play(120, judged_from=30)

    assert road.count("refused") == 0
    assert road.count("in time") == 0


def test_a_standing_queue_is_cut_to_the_target() -> None:
    assert _worst_wait_after(120, 200) <= SheddingRules().target_ms * 1.5


def _worst_wait_after(from_s: float, until_s: float) -> int:
    """Of a road that gets twice what it can do: the longest wait of what was taken up after `from_s`."""
    waits: list[int] = []

    class Listening(Shedding):
        def taken_up(self, request_id: bytes, at_ms: int) -> None:
            if at_ms >= NOW_MS + from_s * 1000 and request_id in self._probes:
                waits.append(at_ms - self._probes[request_id][1])
            super().taken_up(request_id, at_ms)

    Road(lambda _: 600.0, lambda _: 300.0, shedding=Listening(SheddingRules())).play(until_s)
    return max(waits)


def test_batch_goes_first() -> None:
    road = Road(lambda _: 450.0, lambda _: 300.0, batch_share=0.5)

    road.play(200, judged_from=100)

    assert road.ends["interactive", "refused"] == 0
    assert road.ends["batch", "refused"] > 0
    assert road.ends["batch", "in time"] > 0


def test_a_refusal_says_when_the_queue_before_it_will_be_gone() -> None:
    shedding = Shedding(SheddingRules())
    Road(lambda _: 600.0, lambda _: 300.0, deadline_ms=10_000, shedding=shedding).play(30)
    now_ms = NOW_MS + 30_000

    hint_ms = shedding.decide(request(request_id="new", deadline_ms=now_ms + 1_000), partition=0, arrived_ms=now_ms, now_ms=now_ms)

    assert hint_ms is not None
    assert 4_000 < hint_ms < 7_000


def overloaded() -> tuple[Shedding, int]:
    """One that refuses whoever has less than ten seconds, and the moment."""
    shedding = Shedding(SheddingRules())
    Road(lambda _: 600.0, lambda _: 300.0, deadline_ms=10_000, shedding=shedding).play(30)
    return shedding, NOW_MS + 30_000


def test_a_request_that_comes_again_gets_the_first_decision() -> None:
    shedding, now_ms = overloaded()
    long, short = request(request_id="a", deadline_ms=now_ms + 60_000), request(request_id="b", deadline_ms=now_ms + 1_000)
    first = [shedding.decide(each, partition=0, arrived_ms=now_ms, now_ms=now_ms) for each in (long, short)]

    hurried = request(request_id="a", deadline_ms=now_ms + 1_000)
    patient = request(request_id="b", deadline_ms=now_ms + 60_000)
    again = [shedding.decide(each, partition=0, arrived_ms=now_ms, now_ms=now_ms) for each in (hurried, patient)]

    assert first[0] is None
    assert first[1] is not None
    assert again == first


def test_what_arrived_before_the_partition_was_ours_is_never_refused() -> None:
    shedding, now_ms = overloaded()
    shedding.own(0)
    short = {"deadline_ms": now_ms + 1_000}

    before = shedding.decide(request(request_id="before", **short), partition=0, arrived_ms=now_ms - 1, now_ms=now_ms)
    after = shedding.decide(request(request_id="after", **short), partition=0, arrived_ms=now_ms, now_ms=now_ms)

    assert before is None
    assert after is not None


def test_another_models_queue_is_no_reason_to_refuse() -> None:
    shedding, now_ms = overloaded()

    other = request(request_id="other", model="another", deadline_ms=now_ms + 1_000)

    assert shedding.decide(other, partition=0, arrived_ms=now_ms, now_ms=now_ms) is None


def test_a_road_of_which_nothing_is_heard_any_more_refuses_nobody_after_a_minute() -> None:
    shedding, now_ms = overloaded()
    short = {"deadline_ms": now_ms + 62_000}

    later_ms = now_ms + 61_000

    assert shedding.decide(request(request_id="late", **short), partition=0, arrived_ms=later_ms, now_ms=later_ms) is None


def test_neither_models_nor_ids_nor_probes_of_which_nothing_is_heard_fill_the_memory() -> None:
    shedding = Shedding(SheddingRules())
    for number in range(40_000):
        now_ms = NOW_MS + 50 * number
        asked = request(request_id=f"r-{number}", model=f"model-{number}", deadline_ms=now_ms + 60_000)
        shedding.decide(asked, partition=0, arrived_ms=now_ms, now_ms=now_ms)

    assert len(shedding._models) == MOST_MODELS + 1
    assert len(shedding._decided) == REMEMBERED
    assert len(shedding._probes) <= 600_000 / 50 + 1
