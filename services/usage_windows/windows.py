"""What a subject used by event time: sums in fixed buckets of a minute, an hour, a day and a week, and the last seconds for its rate
limits; with the offsets that are in them. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Final, NamedTuple

from daytwo.records import RateLevel, RateLimit, SecondUsed, Usage, UsageBucket, UsageEntry, UsageWindowed, WindowsSaved
from daytwo.topics import REQUEST_ADMITTED
from services.usage_windows.rates import KEPT_S, PERIOD_MS, Level, burst, coming, flowed, level_at, throttled_until

WIDTH_MS: Final = {"minute": 60_000, "hour": 3_600_000, "day": 86_400_000, "week": 604_800_000}
MONDAY_MS: Final = 4 * 86_400_000
"""The first Monday of 1970."""
KEPT_MS: Final = 300_000
"""How long a bucket that is over is kept after it last changed, by the clock: partitions that are behind still find it."""
EVERY_MS: Final = {"minute": 10_000, "hour": 60_000, "day": 300_000, "week": 3_600_000}
"""How often an open bucket is published while it changes."""
GRACE_MS: Final = 2_000
"""After the end of a bucket, until it is published as closed."""
FORGOTTEN_MS: Final = 60_000
TOO_LATE: Final = 0
"""Beginning of the bucket of those that came too late for their own."""
MODELS: Final = 64
"""Most models of a subject that are told apart; the others are one."""
OTHER: Final = "*other"


class Place(NamedTuple):
    """Which bucket."""

    width: str
    start_ms: int
    model: str


class Learned(NamedTuple):
    """Of a rate limit what passes before a throttle is obeyed, how far it was passed when last looked at (levels), and when."""

    passing: int
    beyond: int
    at_ms: int


Sums = tuple[int, ...]
"""Requests, refused, cached; tokens of input, cached input, output, reasoning; images; nano-dollars spent, saved."""


def start_of(width: str, at_ms: int) -> int:
    """Beginning of the bucket that a moment is in, UTC; weeks begin on Monday."""
    shift = MONDAY_MS if width == "week" else 0
    return at_ms - (at_ms - shift) % WIDTH_MS[width]


@dataclass(slots=True)
class Windows:
    """The windows of one subject. Applying an entry a second time changes nothing."""

    tenant: str
    scope: str
    subject: str
    partition: int
    """Of usage-recorded: whose owner keeps it."""
    latest_ms: int = 0
    applied: dict[str, int] = field(default_factory=dict)
    seconds: dict[int, tuple[int, int]] = field(default_factory=dict)
    levels: dict[tuple[str, str], Level] = field(default_factory=dict)
    sums: dict[Place, Sums] = field(default_factory=dict)
    changed: set[Place] = field(default_factory=set)
    dropped: dict[str, int] = field(default_factory=dict)
    """By width the beginning of the latest bucket that was forgotten."""
    published_ms: dict[str, int] = field(default_factory=dict)
    """By width when it was last published. Not saved."""
    added_ms: dict[Place, int] = field(default_factory=dict)
    """When a bucket changed last, by the clock. Not saved: after a restart it is when it was restored."""
    delay_ms: int = 0
    """How long it took until what came last was counted here. Not saved."""
    learned: dict[tuple[str, str], Learned] = field(default_factory=dict)
    """By rate limit. Not saved: learned anew."""

    @property
    def key(self) -> str:
        return f"{self.tenant}/{self.scope}/{self.subject}"

    def apply(self, entries: Sequence[UsageEntry], topic: str, place: str, rates: Sequence[RateLimit], now_ms: int) -> None:
        """Counts entries of `place` (topic/partition), in its order, that are not in here already. `now_ms` bounds what the future
        may move.
        """
        known = self.applied.get(place, -1)
        fresh = [entry for entry in entries if entry.offset > known]
        if not fresh:
            return
        self.applied[place] = fresh[-1].offset
        # The first has waited longest to be read together with the others: so late may a throttle come.
        self.delay_ms = max(0, now_ms - fresh[0].at_ms)
        admitted = topic == REQUEST_ADMITTED.name
        for second, together in groupby(fresh, _second):
            used = list(together)
            self.latest_ms = max(self.latest_ms, min(max(entry.at_ms for entry in used), now_ms))
            tokens = 0 if admitted else sum(entry.usage.input_tokens + entry.usage.output_tokens for entry in used)
            self._use(second, rates, requests=len(used) if admitted else 0, tokens=tokens)
        if not admitted:
            self._add(fresh, now_ms)

    def throttles(self, rates: Sequence[RateLimit], now_ms: int) -> Iterator[tuple[RateLimit, int, int]]:
        """The limits that are reached, with what is used of each and until when, epoch milliseconds.

        A limit is reached early, by what is likely to pass before the gate knows.
        """
        for rate in rates:
            used = {second: self._used(rate, second) for second in self.seconds}
            level = level_at(self._base(rate), rate, used, now_ms)
            passing = max(coming(rate, used, now_ms, self.delay_ms), self._passing(rate, level, now_ms))
            until_ms = throttled_until(level + passing, rate, now_ms)
            if until_ms is not None:
                yield rate, -(-level // PERIOD_MS[rate.period]), until_ms

    def _passing(self, rate: RateLimit, level: int, now_ms: int) -> int:
        """What is learned from how far the limit was passed before: at once, and forgotten within a minute."""
        learned = self.learned.setdefault((rate.kind, rate.period), Learned(0, 0, now_ms))
        full = burst(rate) * PERIOD_MS[rate.period]
        beyond = max(0, level - full)
        kept = learned.passing - learned.passing * min(FORGOTTEN_MS, max(0, now_ms - learned.at_ms)) // FORGOTTEN_MS
        passing = min(full // 2, kept + max(0, beyond - learned.beyond))
        self.learned[rate.kind, rate.period] = Learned(passing, beyond, now_ms)
        return passing

    def due(self, now_ms: int) -> list[Place]:
        """Changed buckets that are to be published now: closed ones, and open ones from time to time."""
        return [place for place in self.changed if _closed(place, now_ms) or now_ms >= self.next_ms(place.width)]

    def next_ms(self, width: str) -> int:
        return self.published_ms.get(width, 0) + EVERY_MS[width]

    def publications(self, places: Sequence[Place], now_ms: int) -> list[UsageWindowed]:
        """Their records: one of each model, and one of all models together."""
        found = [self._record(place, self.sums[place], now_ms) for place in places if place.model]
        for width, start_ms in dict.fromkeys((place.width, place.start_ms) for place in places):
            found.append(self._record(Place(width, start_ms, ""), self._total(width, start_ms), now_ms))
        return found

    def published(self, as_they_were: dict[Place, Sums], now_ms: int) -> None:
        """Notes what is on the log, and forgets buckets that only what is too late could change."""
        for place, sums in as_they_were.items():
            self.published_ms[place.width] = now_ms
            if self.sums.get(place) == sums:
                self.changed.discard(place)
        self._drop(now_ms)

    def _drop(self, now_ms: int) -> None:
        # Of one bucket all models or none: their total is published with each.
        held = {(place.width, place.start_ms) for place in self.sums if not self._is_over(place, now_ms)}
        for place in [place for place in self.sums if (place.width, place.start_ms) not in held]:
            self.dropped[place.width] = max(place.start_ms, self.dropped.get(place.width, 0))
            del self.sums[place]
            self.added_ms.pop(place, None)

    def _is_over(self, place: Place, now_ms: int) -> bool:
        return place not in self.changed and _closed(place, now_ms) and now_ms - self.added_ms.get(place, now_ms) >= KEPT_MS

    def is_newer_than(self, other: Windows) -> bool:
        """Of two states of a subject, one is behind the other in every place."""
        return sum(self.applied.values()) + len(self.applied) >= sum(other.applied.values()) + len(other.applied)

    def _use(self, second: int, rates: Sequence[RateLimit], *, requests: int, tokens: int) -> None:
        latest = self.latest_ms // 1000
        oldest = latest - KEPT_S + 1
        second = min(max(second, oldest), latest)
        before = self.seconds.get(second, (0, 0))
        self.seconds[second] = (before[0] + requests, before[1] + tokens)
        if past := sorted(second for second in self.seconds if second < oldest):
            self._flow_off(past, rates)

    def _flow_off(self, past: Sequence[int], rates: Sequence[RateLimit]) -> None:
        """Takes seconds into the levels of the limits of now; levels of other limits are forgotten."""
        levels = {}
        for rate in rates:
            used = [(second, self._used(rate, second)) for second in past]
            levels[rate.kind, rate.period] = flowed(self._base(rate), rate, used, past[-1] + 1)
        self.levels = levels
        for second in past:
            del self.seconds[second]

    def _base(self, rate: RateLimit) -> Level:
        known = self.levels.get((rate.kind, rate.period))
        return known or Level(0, min(self.seconds, default=self.latest_ms // 1000))

    def _used(self, rate: RateLimit, second: int) -> int:
        return self.seconds[second][0 if rate.kind == "requests" else 1]

    def _add(self, entries: Sequence[UsageEntry], now_ms: int) -> None:
        """To the buckets: first together what is of one minute and model, for adding is what costs."""
        found: dict[tuple[int, str], list[Sums]] = {}
        for entry in entries:
            found.setdefault((start_of("minute", entry.at_ms), entry.model), []).append(_sums_of(entry))
        for (minute_ms, model), each in found.items():
            self._add_to_buckets(minute_ms, self._model(model), _together(each), now_ms)

    def _add_to_buckets(self, minute_ms: int, model: str, more: Sums, now_ms: int) -> None:
        for width in WIDTH_MS:
            place = Place(width, start_of(width, minute_ms), model)
            if place not in self.sums and place.start_ms <= self.dropped.get(width, -1):
                place = Place(width, TOO_LATE, model)
            known = self.sums.get(place)
            self.sums[place] = more if known is None else _together((known, more))
            self.changed.add(place)
            self.added_ms[place] = now_ms

    def _model(self, model: str) -> str:
        known = {place.model for place in self.sums}
        return model if model in known or len(known) < MODELS else OTHER

    def _total(self, width: str, start_ms: int) -> Sums:
        of_models = [sums for place, sums in self.sums.items() if (place.width, place.start_ms) == (width, start_ms)]
        return tuple(map(sum, zip(*of_models, strict=True)))

    def _record(self, place: Place, sums: Sums, now_ms: int) -> UsageWindowed:
        return UsageWindowed(
            tenant=self.tenant,
            scope=self.scope,
            subject=self.subject,
            model=place.model,
            width=place.width,
            start_ms=place.start_ms,
            **_named(sums),
            closed=_closed(place, now_ms),
            published_at_ms=now_ms,
        )

    # as it is saved

    def saved(self) -> WindowsSaved:
        return WindowsSaved(
            tenant=self.tenant,
            scope=self.scope,
            subject=self.subject,
            latest_ms=self.latest_ms,
            applied=dict(self.applied),
            seconds=tuple(SecondUsed(second=at, requests=used[0], tokens=used[1]) for at, used in self.seconds.items()),
            levels=tuple(
                RateLevel(kind=kind, period=period, level=level.level, second=level.second) for (kind, period), level in self.levels.items()
            ),
            buckets=tuple(_bucket(place, sums, changed=place in self.changed) for place, sums in self.sums.items()),
            dropped=dict(self.dropped),
        )


def restored(record: WindowsSaved, partition: int, now_ms: int) -> Windows:
    places = {Place(bucket.width, bucket.start_ms, bucket.model): bucket for bucket in record.buckets}
    return Windows(
        tenant=record.tenant,
        scope=record.scope,
        subject=record.subject,
        partition=partition,
        latest_ms=record.latest_ms,
        applied=dict(record.applied),
        seconds={second.second: (second.requests, second.tokens) for second in record.seconds},
        levels={(level.kind, level.period): Level(level.level, level.second) for level in record.levels},
        sums={place: _sums(bucket) for place, bucket in places.items()},
        changed={place for place, bucket in places.items() if bucket.changed},
        dropped=dict(record.dropped),
        added_ms=dict.fromkeys(places, now_ms),
    )


def _second(entry: UsageEntry) -> int:
    return entry.at_ms // 1000


def _sums_of(entry: UsageEntry) -> Sums:
    usage = entry.usage
    return (
        *(int(not entry.late), int(entry.refused), int(entry.cached)),
        *(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.images),
        *(entry.cost_nano, entry.saved_nano),
    )


def _together(each: Sequence[Sums]) -> Sums:
    return each[0] if len(each) == 1 else tuple(map(sum, zip(*each, strict=True)))


def _closed(place: Place, now_ms: int) -> bool:
    return place.start_ms != TOO_LATE and now_ms >= place.start_ms + WIDTH_MS[place.width] + GRACE_MS


def _bucket(place: Place, sums: Sums, *, changed: bool) -> UsageBucket:
    return UsageBucket(width=place.width, start_ms=place.start_ms, model=place.model, **_named(sums), changed=changed)


def _named(sums: Sums) -> dict[str, Any]:
    requests, refused, cached, read, read_cached, written, reasoned, images, cost, saved = sums
    usage = Usage(input_tokens=read, cached_input_tokens=read_cached, output_tokens=written, reasoning_tokens=reasoned, images=images)
    return {"requests": requests, "refused": refused, "cached": cached, "usage": usage, "cost_nano": cost, "saved_nano": saved}


def _sums(bucket: UsageBucket) -> Sums:
    usage = bucket.usage
    return (
        *(bucket.requests, bucket.refused, bucket.cached),
        *(usage.input_tokens, usage.cached_input_tokens, usage.output_tokens, usage.reasoning_tokens, usage.images),
        *(bucket.cost_nano, bucket.saved_nano),
    )
