"""How a result looks."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from daytwo.records import RequestFinished
from deploy.demo.board import Board, cells, dollars, duration, plain_line, served_by
from deploy.demo.report import summary
from deploy.demo.row import Row, lost, row_of
from deploy.demo.script import Line
from tests.demo.builders import cached, evidence, refused, row

LINE = Line(tenant="helpdesk", session="s", text="Where is my parcel?")
EXAMPLE = Path(__file__).parents[2] / "schemas" / "examples" / "request-finished" / "complete.json"


def board(*, terminal: bool) -> tuple[Board, io.StringIO]:
    out = io.StringIO()
    return Board(Console(file=out, force_terminal=terminal, width=160, height=12), monotonic=lambda: 0.0), out


def test_a_result_becomes_a_row_with_what_the_client_measured() -> None:
    result = RequestFinished.from_avro(json.loads(EXAMPLE.read_text()))
    made = row_of("questions", LINE, result, 12.5)
    assert (made.outcome, made.reason, made.latency_ms) == (result.outcome, result.reason, 12.5)
    assert made.citations == len(result.citations)
    assert made.served == (result.cache_match.kind if result.cache_match else result.served_by)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (row(), "local"),
        (row(citations=2), "local, 2 sources"),
        (cached("exact"), "cache, word for word"),
        (cached("semantic"), "cache, alike 0.97"),
        (cached("coalesced"), "cache, asked just now"),
        (refused(), "-"),
    ],
)
def test_who_served_is_said_in_words(shown: Row, expected: str) -> None:
    assert served_by(shown) == expected


def test_money_and_time_are_readable() -> None:
    assert (dollars(25_900), dollars(0)) == ("$0.00002590", "-")
    assert (duration(41.4), duration(3_800)) == ("41 ms", "3.8 s")


def test_a_refusal_shows_its_reason() -> None:
    assert cells(refused())[2] == "refused: budget_exceeded"


def test_a_plain_line_is_aligned_and_cut() -> None:
    texts = list(cells(row(text="x" * 200)))
    assert plain_line(texts).startswith("helpdesk  " + "x" * 50 + "  answered")


def test_without_a_terminal_each_result_is_one_line() -> None:
    shown, out = board(terminal=False)
    with shown.table():
        number = shown.asked(LINE)
        shown.ended(number, lost("questions", LINE, "no word", 1.0))
    heading, line = out.getvalue().splitlines()
    assert heading.split() == ["tenant", "question", "outcome", "served", "by", "latency", "cost", "saved"]
    assert line.split() == ["helpdesk", "Where", "is", "my", "parcel?", "lost", "-", "1", "ms", "-", "-"]


def test_on_a_terminal_the_last_picture_has_every_row_though_it_is_higher_than_the_screen() -> None:
    shown, out = board(terminal=True)
    with shown.table():
        for place in range(30):
            number = shown.asked(Line(tenant="helpdesk", session="s", text=f"question number {place}"))
            shown.ended(number, row(text=f"question number {place}"))
    assert all(f"question number {place}" in out.getvalue() for place in range(30))


def test_a_question_under_way_is_on_the_table() -> None:
    shown, out = board(terminal=True)
    with shown.table():
        shown.asked(LINE)
    assert "asked" in out.getvalue()


def test_the_summary_has_requests_money_and_time() -> None:
    text = "\n".join(summary(evidence([row(cost_nano=1_000), cached("exact", saved_nano=2_000)])))
    assert "$0.00000100" in text
    assert "$0.00000200 by the cache" in text
    assert "p50 100 ms, p99 100 ms" in text


def test_the_summary_of_nothing_is_no_error() -> None:
    assert "latency     -" in list(summary(evidence([])))
