from __future__ import annotations

import json

import pytest

from daytwo.money.bill import BillError, read_bill
from daytwo.money.reconciling import Line
from daytwo.records import Usage
from services.mock_provider.bill import Bill as MockBill
from services.mock_provider.bill import Call


def test_the_bill_of_the_mock_provider_is_read() -> None:
    mock = MockBill(capacity=1)
    for name in ("a1", "a2"):
        mock.charge(Call(name, "mock", 10, 5, 7, 200))

    bill = read_bill(json.dumps({"truncated": mock.truncated, "calls": list(mock.page(0, 2))}))

    assert (bill.lines, bill.whole) == ((Line(attempt_id="a1", usage=Usage(input_tokens=10, output_tokens=5), at_ms=7),), False)


def test_a_bill_in_csv_may_have_tokens_or_dollars() -> None:
    bill = read_bill("attempt_id,input_tokens,output_tokens,amount\na1,10,5,\na2,,,$0.000000001\na3,,,0.5\n")

    assert [(line.attempt_id, line.usage.input_tokens, line.billed_nano) for line in bill.lines] == [
        ("a1", 10, None),
        ("a2", 0, 1),
        ("a3", 0, 500_000_000),
    ]


def test_a_bill_without_calls_is_one_too() -> None:
    assert read_bill('{"calls": []}').lines == read_bill("attempt_id,amount\n").lines == ()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON"),
        ('{"total": 1}', "list of calls"),
        ("[1]", "list of calls"),
        ("<html>", "CSV with the columns"),
        ('[{"attempt_id": "a", "prompt_tokens": -1}]', "whole number"),
        ('[{"attempt_id": "a", "prompt_tokens": 1, "cached_input_tokens": 2}]', "more cached than read"),
        ("attempt_id,amount\na,1 EUR\n", "only US dollars"),
    ],
)
def test_what_is_no_bill_says_why(text: str, said: str) -> None:
    with pytest.raises(BillError, match=said):
        read_bill(text)
