from __future__ import annotations

import pytest

from services.cache.settings import Settings


def test_nothing_set_means_the_defaults() -> None:
    assert Settings.from_env({}) == Settings()


def test_every_setting_is_read_from_its_variable() -> None:
    names = ("REDIS_TIMEOUT_MS", "FOLLOW_MS", "POLL_MS", "RESERVE_MS", "MAX_ANSWER_BYTES", "ANSWERS_PER_TENANT", "MAX_IN_FLIGHT")
    read = Settings.from_env({"DAYTWO_CACHE_REDIS": "redis://there:1/2", **{f"DAYTWO_CACHE_{name}": "7" for name in names}})

    assert read.redis_url == "redis://there:1/2"
    assert [getattr(read, name.lower()) for name in names] == [7] * 7


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "soon", "٣x"])
def test_a_wrong_number_is_refused_by_the_name_of_its_variable(text: str) -> None:
    with pytest.raises(ValueError, match="DAYTWO_CACHE_FOLLOW_MS"):
        Settings.from_env({"DAYTWO_CACHE_FOLLOW_MS": text})


def test_a_wrong_address_is_refused() -> None:
    with pytest.raises(ValueError, match="DAYTWO_CACHE_REDIS"):
        Settings.from_env({"DAYTWO_CACHE_REDIS": "localhost:6379"})
