from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.bench.arrivals import poisson, recorded, shaped


def test_a_poisson_process_has_its_rate() -> None:
    moments = poisson(random.Random(1), 50.0, 200.0)

    assert moments == sorted(moments)
    assert len(moments) == pytest.approx(10_000, rel=0.05)


@given(st.lists(st.floats(0, 1e6), min_size=3, max_size=200, unique=True), st.floats(1, 50), st.floats(10, 100))
def test_a_shape_keeps_its_length_and_its_rate(arrivals: list[float], per_s: float, seconds: float) -> None:
    moments = shaped(random.Random(1), sorted(arrivals), per_s, seconds)

    assert moments == sorted(moments)
    assert all(0 <= moment <= seconds * 1.000001 for moment in moments)
    assert abs(len(moments) - per_s * seconds) <= 2


def test_a_burst_stays_a_burst() -> None:
    calm, burst = [float(second) for second in range(100)], [50 + number / 100 for number in range(100)]

    moments = shaped(random.Random(1), sorted({*calm, *burst}), 20.0, 10.0)

    assert sum(5.04 <= moment < 5.16 for moment in moments) > len(moments) / 3


def test_a_trace_is_read_in_order(tmp_path: Path) -> None:
    file = tmp_path / "trace.csv"
    file.write_text("TIMESTAMP,ContextTokens\n2023-11-16 18:15:50.9951690,396\n2023-11-16 18:15:46.6805900,374\n")

    first, second = recorded(file)

    assert second - first == pytest.approx(4.314579, abs=1e-4)
