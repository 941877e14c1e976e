"""When the breaker opens, for how long, and how it closes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.inference_router.breaker import Breaker, BreakerPolicy, Health
from tests.inference_router.builders import FastClock

ILL: Health = "ill"
WELL: Health = "well"
UNCLEAR: Health = "unclear"


class Subject(Breaker):
    def __init__(self, **policy: float) -> None:
        self.clock = FastClock()
        super().__init__(BreakerPolicy(**policy), self.clock.monotonic)  # type: ignore[arg-type]

    def now(self) -> str:
        return self.state

    def meet(self, *healths: Health) -> None:
        for health in healths:
            permit = self.enter()
            assert permit is not None
            self.leave(permit, health)


def test_it_opens_on_the_fifth_failure_in_a_row_and_not_before() -> None:
    breaker = Subject()
    breaker.meet(*[ILL] * 4)
    assert breaker.now() == "closed"
    breaker.meet("ill")
    assert breaker.now() == "open"
    assert breaker.enter() is None


def test_a_success_between_failures_starts_the_row_anew() -> None:
    breaker = Subject()
    breaker.meet(*[ILL] * 4, "well", *[ILL] * 4)
    assert breaker.now() == "closed"


def test_it_opens_when_half_of_the_calls_in_the_window_fail() -> None:
    breaker = Subject()
    breaker.meet(*([ILL, WELL] * 10)[:-1])
    assert breaker.now() == "closed"
    breaker.meet("ill")
    assert breaker.now() == "open"


def test_failures_older_than_the_window_do_not_count() -> None:
    breaker = Subject()
    breaker.meet(*[ILL, WELL] * 9)
    breaker.clock.seconds += 31
    breaker.meet("ill", "well", "ill")
    assert breaker.now() == "closed"


def test_what_is_unclear_neither_opens_nor_closes() -> None:
    breaker = Subject()
    breaker.meet(*[UNCLEAR] * 100)
    assert breaker.now() == "closed"
    breaker.meet(*[ILL] * 4, "unclear", "ill")
    assert breaker.now() == "open"


def test_after_the_open_time_one_probe_goes_and_the_others_wait_for_it() -> None:
    breaker = Subject()
    breaker.meet(*[ILL] * 5)
    breaker.clock.seconds += 1.0
    assert breaker.now() == "half_open"
    probe = breaker.enter()
    assert probe is not None
    assert breaker.enter() is None
    assert breaker.opens_in() == 0.2
    breaker.leave(probe, "well")
    assert breaker.now() == "closed"
    assert breaker.enter() is not None


def test_a_probe_that_says_nothing_makes_room_for_another() -> None:
    breaker = Subject()
    breaker.meet(*[ILL] * 5)
    breaker.clock.seconds += 1.0
    breaker.meet("unclear")
    assert breaker.now() == "half_open"
    breaker.meet("well")
    assert breaker.now() == "closed"


def test_each_probe_that_fails_doubles_the_open_time_up_to_a_cap_and_a_success_resets_it() -> None:
    breaker = Subject(open_most_s=5.0)
    breaker.meet(*[ILL] * 5)
    waits = []
    for _ in range(4):
        waits.append(breaker.opens_in())
        breaker.clock.seconds += breaker.opens_in()
        breaker.meet("ill")
    assert waits == [1, 2, 4, 5]
    breaker.clock.seconds += breaker.opens_in()
    breaker.meet("well", *[ILL] * 5)
    assert breaker.opens_in() == 1


def test_calls_that_began_before_it_opened_do_not_close_it() -> None:
    breaker = Subject()
    early = [breaker.enter() for _ in range(6)]
    assert None not in early
    for permit in early[:5]:
        breaker.leave(permit or 0, "ill")
    breaker.clock.seconds += 1.0
    probe = breaker.enter()
    breaker.leave(early[5] or 0, "well")
    assert breaker.now() == "half_open"
    assert breaker.enter() is None
    assert probe is not None


def test_a_cool_down_shuts_the_door_without_being_a_fault() -> None:
    breaker = Subject()
    breaker.cool_down(7)
    assert (breaker.now(), breaker.opens_in(), breaker.enter()) == ("closed", 7, None)
    breaker.clock.seconds += 7
    assert breaker.enter() is not None


def test_a_provider_cannot_shut_its_door_for_ever() -> None:
    breaker = Subject()
    breaker.cool_down(10**9)
    assert breaker.opens_in() == 300


@given(st.lists(st.tuples(st.sampled_from(["well", "ill", "unclear"]), st.floats(0, 10)), max_size=200))
def test_whatever_it_meets_a_call_may_go_within_the_cap(course: list[tuple[Health, float]]) -> None:
    breaker = Subject()
    for health, seconds in course:
        breaker.clock.seconds += seconds
        if (permit := breaker.enter()) is not None:
            breaker.leave(permit, health)
        assert 0 <= breaker.opens_in() <= 60
    breaker.clock.seconds += 60
    assert breaker.enter() is not None
