"""The sums of one subject."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daytwo.codec import decode, encode
from daytwo.records import UsageEntry, UsageWindowed
from daytwo.topics import REQUEST_ADMITTED, REQUEST_FINISHED, WINDOWS_SAVED
from services.usage_windows.windows import KEPT_MS, TOO_LATE, Windows, restored, start_of
from tests.usage_windows.builders import NOON, PLACE, entry, rate

MINUTE, HOUR, DAY = 60_000, 3_600_000, 86_400_000
ENTRIES = st.lists(
    st.builds(
        lambda offset, late_ms, tokens, model: entry(offset, at_ms=NOON - late_ms, tokens=tokens, model=model),
        st.integers(0, 30),
        st.integers(0, 2 * HOUR),
        st.integers(0, 100),
        st.sampled_from(["", "small", "large"]),
    ),
    max_size=30,
)


def windows() -> Windows:
    return Windows(tenant="acme", scope="tenant", subject="", partition=0)


def apply(there: Windows, *entries: UsageEntry, now_ms: int = NOON, place: str = PLACE) -> None:
    for one in entries:
        there.apply([one], REQUEST_FINISHED.name, place, (), now_ms)


def publish(there: Windows, now_ms: int) -> list[UsageWindowed]:
    places = there.due(now_ms)
    sums = {place: there.sums[place] for place in places}
    records = there.publications(places, now_ms)
    there.published(sums, now_ms)
    return records


def requests(records: list[UsageWindowed], width: str = "minute", model: str = "") -> dict[int, int]:
    return {row.start_ms: row.requests for row in records if (row.width, row.model) == (width, model)}


def test_buckets_begin_at_full_minutes_hours_days_and_on_monday() -> None:
    at_ms = NOON + 34 * MINUTE + 5_678
    assert start_of("minute", at_ms) == NOON + 34 * MINUTE
    assert start_of("hour", at_ms) == NOON
    assert start_of("day", at_ms) == NOON - 12 * HOUR
    assert start_of("week", at_ms) == NOON - 12 * HOUR - 6 * DAY


def test_an_entry_that_is_in_is_not_counted_again() -> None:
    there = windows()
    apply(there, entry(5), entry(5), entry(4))
    assert requests(publish(there, NOON)) == {NOON: 1}


def test_each_place_has_an_offset_of_its_own() -> None:
    there = windows()
    apply(there, entry(5))
    apply(there, entry(5), place="request-finished/1")
    assert requests(publish(there, NOON)) == {NOON: 2}


def test_a_late_event_is_counted_in_its_own_bucket_and_makes_a_further_record() -> None:
    there = windows()
    apply(there, entry(1), entry(2, at_ms=NOON + MINUTE))
    first = publish(there, NOON + 2 * MINUTE)
    apply(there, entry(3), now_ms=NOON + 2 * MINUTE)
    second = publish(there, NOON + 3 * MINUTE)
    assert (requests(first)[NOON], requests(second)) == (1, {NOON: 2})


def test_an_event_for_a_bucket_that_was_forgotten_is_counted_apart() -> None:
    there = windows()
    apply(there, entry(1))
    publish(there, NOON + 2 * MINUTE)
    apply(there, entry(2, at_ms=NOON + KEPT_MS), now_ms=NOON + KEPT_MS)
    publish(there, NOON + KEPT_MS + 2 * MINUTE)
    apply(there, entry(3), now_ms=NOON + KEPT_MS + 2 * MINUTE)
    late = publish(there, NOON + KEPT_MS + 3 * MINUTE)
    assert requests(late)[TOO_LATE] == 1
    assert NOON not in requests(late)
    assert not next(row for row in late if row.start_ms == TOO_LATE).closed


def test_an_event_from_the_future_makes_nobody_late() -> None:
    there = windows()
    apply(there, entry(1, at_ms=NOON + HOUR), entry(2))
    assert requests(publish(there, NOON)) == {NOON + HOUR: 1, NOON: 1}


def test_models_are_told_apart_and_summed_together() -> None:
    there = windows()
    apply(there, entry(1, model="small"), entry(2, model="large"), entry(3))
    records = publish(there, NOON)
    assert (requests(records), requests(records, model="small"), requests(records, model="large")) == ({NOON: 3}, {NOON: 1}, {NOON: 1})


def test_more_models_than_are_told_apart_are_one() -> None:
    there = windows()
    apply(there, *(entry(number, model=f"m-{number}") for number in range(200)))
    assert sum(row.requests for row in publish(there, NOON) if row.width == "day" and row.model) == 200
    assert len({place.model for place in there.sums}) == 65


def test_an_open_minute_is_published_every_ten_seconds_and_a_closed_one_at_once() -> None:
    there = windows()
    apply(there, entry(1))
    assert requests(publish(there, NOON + 1_000)) == {NOON: 1}
    apply(there, entry(2))
    assert requests(publish(there, NOON + 9_000)) == {}
    assert requests(publish(there, NOON + 11_000)) == {NOON: 2}
    apply(there, entry(3))
    closed = publish(there, NOON + MINUTE + 2_000)
    assert [row.closed for row in closed if row.width == "minute"] == [True]


def test_a_bucket_that_changed_while_it_was_written_is_written_again() -> None:
    there = windows()
    apply(there, entry(1))
    sums = {place: there.sums[place] for place in there.due(NOON)}
    apply(there, entry(2))
    there.published(sums, NOON)
    assert requests(publish(there, NOON + MINUTE + 2_000)) == {NOON: 2}


@given(ENTRIES)
def test_what_is_saved_is_restored_whole(entries: list[UsageEntry]) -> None:
    there = windows()
    apply(there, *entries)
    back = restored(decode(WINDOWS_SAVED, encode(WINDOWS_SAVED, there.saved())), 0, NOON)
    assert back.saved() == there.saved()


@given(ENTRIES, st.integers(0, 30), st.integers(0, 30))
def test_a_crash_at_any_point_counts_everything_once(entries: list[UsageEntry], saved_after: int, died_after: int) -> None:
    """Reading goes on at an offset that is saved or before it."""
    ordered = sorted({one.offset: one for one in entries}.values(), key=lambda one: one.offset)
    whole, broken = windows(), windows()
    apply(whole, *ordered)
    apply(broken, *ordered[:saved_after])
    saved = broken.saved()
    apply(broken, *ordered[:died_after])
    back = restored(saved, 0, NOON)
    apply(back, *ordered)
    assert (back.sums, back.seconds) == (whole.sums, whole.seconds)


def test_only_what_was_admitted_is_a_request_of_a_rate_limit_and_only_what_ended_has_tokens() -> None:
    there = windows()
    rates = [rate(limit=1), rate(kind="tokens", limit=10)]
    there.apply([entry(1)], REQUEST_ADMITTED.name, "request-admitted/0", rates, NOON)
    assert [limit.kind for limit, _, _ in there.throttles(rates, NOON)] == ["requests"]
    there.apply([entry(1, tokens=10)], REQUEST_FINISHED.name, PLACE, rates, NOON)
    assert [(limit.kind, used) for limit, used, _ in there.throttles(rates, NOON)] == [("requests", 1), ("tokens", 10)]


def test_a_level_is_kept_when_its_seconds_are_gone() -> None:
    there = windows()
    rates = [rate(kind="tokens", period="day", limit=86_400)]
    for number in range(100):
        at_ms = NOON + number * 1000
        there.apply([entry(number, at_ms=at_ms, tokens=2)], REQUEST_FINISHED.name, PLACE, rates, at_ms)
    assert len(there.seconds) == 10
    # Two come and one flows off in each second; of the last nothing has yet.
    assert there.saved().levels[0].level + 10 * 86_400_000 == 101 * 86_400_000


def test_of_two_states_the_newer_is_the_one_that_has_more() -> None:
    older, newer = windows(), windows()
    apply(older, entry(1))
    apply(newer, entry(1), entry(2))
    assert newer.is_newer_than(older)
    assert not older.is_newer_than(newer)


def test_what_passed_a_limit_once_is_kept_free_the_next_time() -> None:
    """Requests come every 10 ms; a throttle is obeyed by the gate 100 ms after the request that led to it."""
    there, rates = windows(), [rate(limit=600, burst=100)]
    until, known, levels = 0, list[tuple[int, int]](), list[int]()
    for number in range(3000):
        now_ms = NOON + number * 10
        until = max([until, *(end for at, end in known if at <= now_ms)])
        known = [(at, end) for at, end in known if at > now_ms]
        if now_ms >= until:
            there.apply([entry(number, at_ms=now_ms)], REQUEST_ADMITTED.name, "request-admitted/0", rates, now_ms)
            for _, used, end in there.throttles(rates, now_ms):
                known.append((now_ms + 100, end))
                levels.append(used)
    assert max(levels[: len(levels) // 2]) > 100
    assert max(levels[len(levels) // 2 :]) <= 102


def test_a_late_attempt_adds_tokens_and_money_and_no_request() -> None:
    windows = Windows(tenant="acme", scope="tenant", subject="", partition=0)

    windows.apply([entry(1, tokens=10), entry(2, tokens=30, late=True, cost_nano=5)], "request-finished", PLACE, (), NOON)

    (total,) = [sums for place, sums in windows.sums.items() if place.width == "day"]
    assert (total[0], total[3], total[8]) == (1, 40, 5)
