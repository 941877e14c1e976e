from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mock_provider.errors import InvalidSettingError
from services.mock_provider.faults import HEALTHY, FaultKind, Faults, read_rule, read_rules


def some_faults(*rules: dict[str, object]) -> Faults:
    faults = Faults()
    faults.replace(read_rules(list(rules)))
    return faults


def heads() -> float:
    return 0.0


def kinds(faults: Faults, calls: int, model: str = "mock") -> list[FaultKind]:
    return [faults.choose(model, heads).kind for _ in range(calls)]


def test_without_rules_nothing_goes_wrong() -> None:
    assert Faults().choose("mock", heads) is HEALTHY


def test_a_rule_with_a_count_is_used_so_often_and_no_more() -> None:
    faults = some_faults({"kind": "status_500", "count": 2})
    assert kinds(faults, 3) == [FaultKind.STATUS_500, FaultKind.STATUS_500, FaultKind.NONE]


def test_the_first_rule_that_fits_wins_and_the_next_takes_over_when_it_is_used_up() -> None:
    faults = some_faults({"kind": "none", "count": 1}, {"kind": "hang", "count": 1}, {"kind": "slow"})
    assert kinds(faults, 3) == [FaultKind.NONE, FaultKind.HANG, FaultKind.SLOW]


def test_a_rule_for_a_model_leaves_the_others_alone() -> None:
    faults = some_faults({"kind": "status_503", "model": "gpt-small"})
    assert kinds(faults, 1, "gpt-small") == [FaultKind.STATUS_503]
    assert kinds(faults, 1, "gpt-small-2") == [FaultKind.NONE]


@given(st.floats(0.1, 0.9))
def test_a_rule_with_a_probability_hits_about_that_share(probability: float) -> None:
    faults, rng = some_faults({"kind": "hang", "probability": probability}), Random(3)
    hits = sum(faults.choose("mock", rng.random).kind is FaultKind.HANG for _ in range(2_000))
    assert hits / 2_000 == pytest.approx(probability, abs=0.06)


def test_a_rule_of_probability_zero_never_hits() -> None:
    assert kinds(some_faults({"kind": "hang", "probability": 0}), 10) == [FaultKind.NONE] * 10


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("mock-429", "status_429"),
        ("mock-500", "status_500"),
        ("mock-503", "status_503"),
        ("mock-hang", "hang"),
        ("openai/mock-cut", "cut_body"),
        ("mock-slow", "slow"),
        ("mock", "none"),
        ("429", "status_429"),
    ],
)
def test_the_end_of_a_models_name_asks_for_its_fault(model: str, kind: str) -> None:
    assert Faults().choose(model, heads).kind == kind


def test_only_an_answer_that_was_never_computed_is_free_unless_the_rule_says_otherwise() -> None:
    free = {kind for kind in FaultKind if not read_rule({"kind": kind}, "rule").charged}
    assert free == {FaultKind.STATUS_429, FaultKind.STATUS_500, FaultKind.STATUS_503}
    assert read_rule({"kind": "status_500", "charged": True}, "rule").charged
    assert not read_rule({"kind": "hang", "charged": False}, "rule").charged


@given(
    st.fixed_dictionaries(
        {"kind": st.sampled_from(FaultKind)},
        optional={
            "probability": st.floats(0, 1),
            "model": st.none() | st.text(),
            "count": st.none() | st.integers(0, 99),
            "retry_after": st.none() | st.floats(0, 99),
            "delay_ms": st.floats(0, 600_000),
            "after_ms": st.floats(0, 600_000),
            "factor": st.floats(0, 10),
            "charged": st.booleans(),
        },
    )
)
def test_a_rule_is_read_from_what_it_says_of_itself(given_rule: dict[str, object]) -> None:
    rule = read_rule(given_rule, "rule")
    assert read_rule(rule.as_json(), "rule") == rule


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({}, "faults"),
        ([5], r"faults\[0\]"),
        ([{"kind": "slow"}, {"kind": "flood"}], r"faults\[1\].kind"),
        ([{}], r"faults\[0\].kind"),
        ([{"kind": ["hang"]}], r"faults\[0\].kind"),
        ([{"kind": "hang", "probabilty": 1}], "probabilty"),
        ([{"kind": "hang", "probability": 1.5}], "probability"),
        ([{"kind": "hang", "after_ms": 600_001}], "after_ms"),
        ([{"kind": "hang", "count": -1}], "count"),
        ([{"kind": "hang", "count": True}], "count"),
        ([{"kind": "hang", "model": 5}], "model"),
        ([{"kind": "hang", "charged": "no"}], "charged"),
        ([{"kind": "status_429", "retry_after": "soon"}], "retry_after"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_by_place_and_field(rules: object, named: str) -> None:
    with pytest.raises(InvalidSettingError, match=named):
        read_rules(rules)
