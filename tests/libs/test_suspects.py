"""A killed process leaves its marks in a file; here by never calling `end`."""

from __future__ import annotations

from pathlib import Path

from daytwo.suspects import RecordId, Suspects

POISON = RecordId("request-submitted", 3, 41)
INNOCENT = RecordId("request-submitted", 3, 42)


def death(path: Path, *, alone: RecordId | None = None, others: tuple[RecordId, ...] = ()) -> Suspects:
    """A process that died with these records in flight; returns what the next one knows."""
    dying = Suspects(path)
    for record in (*others, *([alone] if alone else [])):
        dying.begin(record)
    if alone:
        dying.alone(alone, alone=True)
    return Suspects(path)


def test_who_was_in_flight_at_a_death_is_a_suspect_and_condemned_by_nothing_yet(tmp_path: Path) -> None:
    next_life = death(tmp_path / "marks", others=(POISON, INNOCENT))

    assert next_life.is_suspect(POISON)
    assert next_life.is_suspect(INNOCENT)
    assert not next_life.is_condemned(POISON)


def test_a_record_that_was_alone_at_two_more_deaths_is_condemned(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    death(marks, others=(POISON, INNOCENT))
    # The next life reads the marks and starts the suspect alone; it dies.
    second = Suspects(marks)
    second.begin(POISON)
    second.alone(POISON, alone=True)
    third = Suspects(marks)
    assert not third.is_condemned(POISON)
    third.begin(POISON)
    third.alone(POISON, alone=True)

    fourth = Suspects(marks)

    assert fourth.is_condemned(POISON)
    assert not fourth.is_condemned(INNOCENT)


def test_a_record_that_is_done_is_no_suspect_any_more(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    life = death(marks, others=(INNOCENT,))
    life.begin(INNOCENT)
    life.end(INNOCENT)

    assert not Suspects(marks).is_suspect(INNOCENT)


def test_any_number_of_ordinary_deaths_condemns_nobody(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    for _ in range(10):
        life = death(marks, others=(INNOCENT,))

    assert not life.is_condemned(INNOCENT)


def test_what_is_known_of_a_suspect_survives_a_death_that_another_record_brought_about(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    death(marks, others=(POISON, INNOCENT))
    death(marks, alone=POISON)
    # Two lives die before the suspect is even read: its count must not begin anew.
    for _ in range(2):
        death(marks, others=(RecordId("request-finished", 0, 7),))

    last = death(marks, alone=POISON)

    assert last.is_condemned(POISON)


def test_a_record_that_was_set_aside_stays_condemned_until_its_offset_is_committed(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    death(marks, others=(POISON,))
    death(marks, alone=POISON)
    life = death(marks, alone=POISON)
    life.begin(POISON)
    life.end(POISON)

    # The process dies of something else; the record is read again.
    next_life = Suspects(marks)
    assert next_life.is_condemned(POISON)
    next_life.committed(POISON.topic, POISON.partition, POISON.offset + 1)

    assert not Suspects(marks).is_condemned(POISON)


def test_suspects_that_never_come_again_leave_room_for_marks(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    dying = Suspects(marks, slots=8)
    for offset in range(8):
        dying.begin(RecordId("request-submitted", 1, offset))

    life = Suspects(marks, slots=8)
    life.begin(POISON)

    assert Suspects(marks, slots=8).is_suspect(POISON)


def test_among_many_suspects_a_poison_record_is_found_in_company_first_and_then_alone(tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    many = tuple(RecordId("request-submitted", 0, offset) for offset in range(1000))
    life = death(marks, others=(*many, POISON))
    companies = [life.company]
    for _ in range(3):
        for record in (*many, POISON):
            life.begin(record)
        life.alone(POISON, alone=True)
        life = Suspects(marks)
        companies.append(life.company)

    assert companies == [11, 1, 1, 1]
    assert life.is_condemned(POISON)
    assert not any(life.is_condemned(record) for record in many)


def test_few_suspects_start_one_by_one(tmp_path: Path) -> None:
    few = tuple(RecordId("request-submitted", 0, offset) for offset in range(100))

    assert death(tmp_path / "marks", others=few).company == 1
