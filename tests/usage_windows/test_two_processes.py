"""Partitions that go from one process to another, and back: the sums are those of the log, whoever wrote what last.

With two processes, killed again and again, minutes were a request short. Who had lost a partition went on to publish the states it
had of it, after its new owner had published newer ones and had nothing more to say.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from daytwo.broker import Raw
from daytwo.codec import encode
from daytwo.flow import Table
from daytwo.money.history import newest
from daytwo.records import UsageRecorded, UsageWindowed
from daytwo.topics import TENANT_CONFIGURED, USAGE_RECORDED, WINDOWS_SAVED
from services.usage_windows.holding import LATE_MS, Holding, Saved
from services.usage_windows.throttling import Throttling
from services.usage_windows.windows import Windows
from tests.usage_windows.builders import NOON, entry

MINUTE = ("minute", "")
Rule = Callable[[UsageWindowed | None, UsageWindowed], UsageWindowed]


@dataclass
class Log:
    """One partition of usage-recorded and of windows-saved, and what was published, each in its order."""

    recorded: list[bytes] = field(default_factory=list)
    saved: list[Raw] = field(default_factory=list)
    windowed: list[UsageWindowed] = field(default_factory=list)

    def write(self, *offsets: int) -> None:
        record = UsageRecorded(tenant="acme", topic="request-finished", partition=0, entries=tuple(entry(at) for at in offsets))
        self.recorded.append(encode(USAGE_RECORDED, record))

    def keep(self, windows: Windows) -> None:
        self.saved.append(Raw("windows-saved", 0, len(self.saved), NOON, windows.key.encode(), encode(WINDOWS_SAVED, windows.saved())))

    def compact(self) -> None:
        self.saved = list({raw.key: raw for raw in self.saved}.values())

    def requests(self, rule: Rule) -> int:
        """Of the minute, all models."""
        found: UsageWindowed | None = None
        for row in self.windowed:
            if (row.width, row.model) == MINUTE:
                found = rule(found, row)
        return 0 if found is None else found.requests


class Process:
    """What stream.py does with a Holding, at the moments a test chooses."""

    def __init__(self, log: Log) -> None:
        self.log = log
        self.now_ms = NOON
        self.holding = Holding(Table(TENANT_CONFIGURED), Throttling(lambda _: None), 100)

    def take_over(self) -> Process:
        saved = Saved()
        for raw in self.log.saved:
            saved.take(raw, self.now_ms)
        self.holding.take_over([0], saved, {0: 0}, self.now_ms)
        return self

    def read(self, most: int = 1000) -> Process:
        at = self.holding.next[0]
        for offset, value in list(enumerate(self.log.recorded))[at : at + most]:
            assert self.holding.follows(0, offset)
            self.holding.passed(0, offset)
            self.holding.count(value, 0, self.now_ms)
        return self

    def save(self) -> Process:
        counted = dict(self.holding.next)
        self.save_states()
        for windows in self.holding.moved(counted):
            self.log.keep(windows)
        return self

    def save_states(self) -> None:
        """And no more: it dies before it has saved how far they reach."""
        for windows in self.holding.take_unsaved():
            self.log.keep(windows)

    def publish(self) -> Process:
        self.now_ms += 120_000
        for windows in list(self.holding.take_due(self.now_ms)):
            places = windows.due(self.now_ms)
            sums = {place: windows.sums[place] for place in places}
            self.log.windowed += windows.publications(places, self.now_ms)
            self.holding.published(windows, sums, self.now_ms)
        return self


def latest(_: UsageWindowed | None, found: UsageWindowed) -> UsageWindowed:
    return found


def test_who_has_let_go_of_a_partition_says_nothing_of_it_any_more() -> None:
    log = Log()
    before, after = Process(log), Process(log)
    log.write(1, 2)
    before.take_over().read().save()
    log.write(3)
    before.read().holding.let_go()
    log.write(4)
    after.take_over().read().publish().save()
    before.publish().save()
    assert log.requests(latest) == 4
    assert Process(log).take_over().read().publish().log.requests(latest) == 4


def test_what_somebody_who_was_taken_for_dead_publishes_late_is_known_as_the_older() -> None:
    log = Log()
    zombie, after = Process(log), Process(log)
    log.write(1, 2)
    zombie.take_over().read()
    log.write(3)
    after.take_over().read().publish()
    zombie.publish()
    assert (log.requests(latest), log.requests(newest)) == (2, 3)


def test_an_old_state_that_was_saved_late_is_overtaken_and_the_newer_is_saved_again_before_compaction_removes_it() -> None:
    log = Log()
    zombie, after = Process(log), Process(log)
    log.write(1, 2)
    zombie.take_over().read()
    log.write(3)
    after.take_over().read().save()
    zombie.save_states()
    assert Process(log).take_over().read().publish().log.requests(latest) == 3
    Process(log).take_over().save()
    log.compact()
    assert Process(log).take_over().read().publish().log.requests(newest) == 3


def test_the_owner_saves_again_what_an_owner_before_may_have_overwritten_so_that_compaction_keeps_the_newer() -> None:
    log = Log()
    zombie, after = Process(log), Process(log)
    log.write(1, 2)
    zombie.take_over().read()
    log.write(3)
    after.take_over().read().save()
    zombie.save_states()
    after.holding.save_early_again(NOON + 2 * LATE_MS)
    after.save()
    log.compact()
    assert Process(log).take_over().read().publish().log.requests(newest) == 3


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "again", "read", "save", "save and die", "publish", "take over", "let go", "die"]), st.integers(0, 2)
    ),
    max_size=40,
)


def run(steps: Sequence[tuple[str, int]]) -> tuple[Log, int]:
    """Three processes; any number of them may take themselves for the owner. Returns the log and how many requests are on it."""
    log, processes, written = Log(), [Process(Log()) for _ in range(3)], 0
    for process in processes:
        process.log = log
    for step, number in steps:
        process = processes[number]
        owner = bool(process.holding.next)
        if step == "write":
            log.write(written + 1, written + 2)
            written += 2
        elif step == "again" and written:  # the first half writes again what it had not committed
            log.write(*range(max(1, written - 3 - number), written + 1))
        elif step == "take over" and not owner:
            process.take_over()
        elif step == "let go":
            process.holding.let_go()
        elif step in ("die", "save and die"):
            if step != "die":
                process.save_states()
            processes[number] = Process(log)
        elif owner and step == "read":
            process.read(number + 1)
        elif owner and step in ("save", "publish"):
            getattr(process, step)()
    return log, written


@given(STEPS)
def test_whatever_owners_and_zombies_do_the_sums_are_those_of_the_log(steps: list[tuple[str, int]]) -> None:
    log, written = run(steps)
    last = Process(log).take_over().read().publish()
    assert last.log.requests(newest) == written
