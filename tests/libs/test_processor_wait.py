"""What Linux tells of the run queue becomes seconds a turn."""

from __future__ import annotations

from pathlib import Path

import pytest

from daytwo.processor_wait import LOOKS_EVERY_S, ProcessorWait


class Schedstat:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "schedstat"
        self.waited_ms = self.turns = 0
        self.more(waited_ms=5000, turns=10)

    def more(self, *, waited_ms: int, turns: int) -> None:
        self.waited_ms += waited_ms
        self.turns += turns
        self.path.write_text(f"123456789 {self.waited_ms * 1_000_000} {self.turns}\n")


@pytest.fixture
def schedstat(tmp_path: Path) -> Schedstat:
    return Schedstat(tmp_path)


def test_it_is_that_of_late_and_not_of_the_whole_life(schedstat: Schedstat) -> None:
    wait = ProcessorWait(schedstat.path)
    assert wait.of_late_s(0.0) == 0.0

    schedstat.more(waited_ms=20, turns=10)
    assert wait.of_late_s(LOOKS_EVERY_S) == pytest.approx(0.0005)
    schedstat.more(waited_ms=20, turns=10)
    assert wait.of_late_s(2 * LOOKS_EVERY_S) == pytest.approx(0.000875)


def test_it_looks_no_more_often_than_it_must(schedstat: Schedstat) -> None:
    wait = ProcessorWait(schedstat.path)
    wait.of_late_s(0.0)
    schedstat.more(waited_ms=20, turns=10)

    assert wait.of_late_s(LOOKS_EVERY_S / 2) == 0.0
    assert wait.of_late_s(LOOKS_EVERY_S) > 0


def test_who_had_no_turn_waited_for_none(schedstat: Schedstat) -> None:
    wait = ProcessorWait(schedstat.path)

    assert [wait.of_late_s(at) for at in (0.0, 1.0, 2.0)] == [0.0] * 3


@pytest.mark.parametrize("text", [None, "", "1 2", "no numbers here"])
def test_where_the_system_does_not_tell_nobody_waits(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "schedstat"
    if text is not None:
        path.write_text(text)
    wait = ProcessorWait(path)

    assert [wait.of_late_s(at) for at in (0.0, 1.0)] == [0.0, 0.0]
