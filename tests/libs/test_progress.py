from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from daytwo.progress import Progress


@given(st.sets(st.integers(0, 200), min_size=1), st.randoms(use_true_random=False))
def test_what_may_be_committed_never_passes_an_unfinished_record(offsets: set[int], rng: object) -> None:
    ordered = sorted(offsets)
    progress = Progress(ordered[0])
    for offset in ordered:
        progress.started(offset)
    finishing = ordered[:]
    rng.shuffle(finishing)  # type: ignore[attr-defined]

    for place, offset in enumerate(finishing):
        progress.finished(offset)
        left = finishing[place + 1 :]
        assert progress.committable() == (min(left) if left else ordered[-1] + 1)


def test_a_record_of_an_older_epoch_moves_nothing() -> None:
    progress = Progress(10)
    progress.started(10)

    progress.finished(7)

    assert progress.committable() == 10


def test_done_is_what_was_started_and_finished_here() -> None:
    progress = Progress(10)
    progress.started(10)
    progress.started(12)
    progress.finished(10)

    assert [offset for offset in range(8, 15) if progress.is_done(offset)] == [10, 11]
