from __future__ import annotations

import pytest

from services.cost_meter.settings import Settings


def test_defaults_need_no_environment() -> None:
    assert Settings.from_env({}) == Settings()


def test_settings_come_from_the_environment() -> None:
    env = {"DAYTWO_LEDGER_REDIS": "redis://ledger:6379/1", "DAYTWO_ATTEMPTS_BOUND": "5", "DAYTWO_LEDGER_KEEP_HOURS": "24"}

    settings = Settings.from_env(env)

    assert settings == Settings(ledger_redis="redis://ledger:6379/1", attempts_bound=5, keep_hours=24)
    assert settings.keep_ms == 86_400_000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DAYTWO_ATTEMPTS_BOUND", "0"),
        ("DAYTWO_ATTEMPTS_BOUND", "-1"),
        ("DAYTWO_ATTEMPTS_BOUND", "three"),
        ("DAYTWO_ATTEMPTS_BOUND", "21"),
        ("DAYTWO_LEDGER_KEEP_HOURS", "1.5"),
        ("DAYTWO_LEDGER_REDIS", "localhost:6379"),
    ],
)
def test_a_bad_value_is_named(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=name):
        Settings.from_env({name: value})
