from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mock_provider.bill import Bill, Call
from services.mock_provider.bill_file import BillFile, BillFileError

calls = st.builds(
    Call,
    attempt_id=st.none() | st.text(st.characters(codec="utf-8")),
    model=st.text(st.characters(codec="utf-8")),
    prompt_tokens=st.integers(0, 10**6),
    completion_tokens=st.integers(0, 10**6),
    at_ms=st.integers(0, 2**50),
    status=st.sampled_from([200, 429, None]),
)


def a_call(attempt: str = "a1") -> Call:
    return Call(attempt, "mock", prompt_tokens=10, completion_tokens=20, at_ms=5, status=200)


def whole(bill: Bill) -> list[dict[str, object]]:
    return list(bill.page(0, bill.listed))


@given(st.lists(st.tuples(calls, st.booleans())), st.integers(0, 20))
def test_totals_are_the_sums_of_all_calls_and_the_list_is_their_beginning(charged: list[tuple[Call, bool]], capacity: int) -> None:
    bill = Bill(capacity=capacity)
    for call, delivered in charged:
        receipt = bill.charge(call)
        if delivered:
            bill.deliver(receipt)
    assert bill.totals.calls == len(charged)
    assert bill.totals.prompt_tokens == sum(call.prompt_tokens for call, _ in charged)
    assert bill.totals.completion_tokens == sum(call.completion_tokens for call, _ in charged)
    assert bill.totals.delivered == sum(delivered for _, delivered in charged)
    assert [entry["attempt_id"] for entry in whole(bill)] == [call.attempt_id for call, _ in charged[:capacity]]
    assert [entry["delivered"] for entry in whole(bill)] == [delivered for _, delivered in charged[:capacity]]
    assert bill.truncated == (len(charged) > capacity)


def test_pages_put_together_are_the_bill() -> None:
    bill = Bill(capacity=100)
    for number in range(10):
        bill.charge(a_call(str(number)))
    assert [*bill.page(0, 4), *bill.page(4, 8), *bill.page(8, 10)] == whole(bill)


def test_a_delivery_from_before_a_clearing_does_not_touch_the_new_bill() -> None:
    bill = Bill(capacity=100)
    old = bill.charge(a_call("old"))
    bill.clear()
    bill.charge(a_call("new"))
    bill.deliver(old)
    assert bill.totals.delivered == 0
    assert [entry["delivered"] for entry in whole(bill)] == [False]


def test_a_bill_in_a_file_survives_its_process(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    with BillFile(path) as file:
        bill = Bill(capacity=100, journal=file)
        bill.charge(a_call("a1"))
        bill.deliver(bill.charge(a_call("a2")))
        with BillFile(path) as again:  # as after kill -9: nothing was closed
            restored = Bill(capacity=100)
            again.restore(restored)
    assert whole(restored) == whole(bill)
    assert restored.totals == bill.totals


def test_a_last_line_that_was_cut_off_is_removed_and_the_bill_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    with BillFile(path) as file:
        Bill(capacity=100, journal=file).charge(a_call("a1"))
    complete = path.read_bytes()
    path.write_bytes(complete + complete[:20])
    with BillFile(path) as file:
        bill = Bill(capacity=100, journal=file)
        file.restore(bill)
        bill.charge(a_call("a2"))
    restored = Bill(capacity=100)
    with BillFile(path) as file:
        file.restore(restored)
    assert [entry["attempt_id"] for entry in whole(restored)] == ["a1", "a2"]


def test_a_cleared_bill_stays_cleared_in_its_file(tmp_path: Path) -> None:
    path = tmp_path / "bill.jsonl"
    with BillFile(path) as file:
        bill = Bill(capacity=100, journal=file)
        bill.charge(a_call("old"))
        bill.clear()
        bill.deliver(bill.charge(a_call("new")))
    restored = Bill(capacity=100)
    with BillFile(path) as file:
        file.restore(restored)
    assert whole(restored) == whole(bill)


@pytest.mark.parametrize("line", [b"hello\n", b"[]\n", b'{"model": "mock"}\n', b'{"delivered": 0}\n'])
def test_a_file_that_is_no_bill_is_refused_with_the_line(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "bill.jsonl"
    path.write_bytes(line)
    with BillFile(path) as file, pytest.raises(BillFileError, match=r"bill.jsonl, line 1"):
        file.restore(Bill(capacity=100))
