"""What can be set, and what is said of a value that cannot be."""

from __future__ import annotations

import pytest

from services.inference_router.settings import Settings


def test_what_is_not_set_has_its_default() -> None:
    assert Settings.from_env({}) == Settings()


def test_each_setting_is_read_from_its_variable() -> None:
    names = (
        "BODY_BYTES",
        "CONNECT_MS",
        "JOURNAL_BYTES",
        "JOURNAL_BEFORE_MS",
        "MAX_IN_FLIGHT",
        "STARTING",
        "BREAKER_FAILURES",
        "BACK_OFF_MS",
    )
    settings = Settings.from_env({f"DAYTWO_ROUTER_{name}": "2048" for name in names})
    assert (settings.most_body_bytes, settings.connect_s, settings.journal_bytes, settings.journal_before_ms) == (2048, 2.048, 2048, 2048)
    assert (settings.max_in_flight, settings.most_starting) == (2048, 2048)
    assert (settings.breaker.failures, settings.retry.base_ms) == (2048, 2048)


@pytest.mark.parametrize("value", ["x", "-1", "0", "1.5", "²", str(2**40)])
def test_a_bad_value_is_named_with_its_variable(value: str) -> None:
    with pytest.raises(ValueError, match="DAYTWO_ROUTER_MAX_IN_FLIGHT"):
        Settings.from_env({"DAYTWO_ROUTER_MAX_IN_FLIGHT": value})
