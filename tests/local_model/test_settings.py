import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.local_model.settings import SettingsError, read_settings


def test_an_empty_environment_has_the_defaults() -> None:
    settings = read_settings({})
    assert (settings.host, settings.port, settings.slots, settings.context) == ("127.0.0.1", 8090, 4, 2048)
    assert settings.threads >= 1


def test_each_setting_is_read_from_its_variable() -> None:
    settings = read_settings(
        {
            "DAYTWO_HOST": "0.0.0.0",
            "DAYTWO_HTTP_PORT": "9000",
            "DAYTWO_MODEL_SLOTS": "2",
            "DAYTWO_MODEL_THREADS": "1",
            "DAYTWO_MODEL_CONTEXT": "512",
        }
    )
    assert (settings.host, settings.port) == ("0.0.0.0", 9000)
    assert (settings.slots, settings.threads, settings.context) == (2, 1, 512)


@given(st.sampled_from(["DAYTWO_HTTP_PORT", "DAYTWO_MODEL_SLOTS", "DAYTWO_MODEL_CONTEXT"]), st.integers(max_value=-1))
def test_a_number_out_of_range_is_refused_by_its_variable(name: str, value: int) -> None:
    with pytest.raises(SettingsError, match=name):
        read_settings({name: str(value)})


@pytest.mark.parametrize("text", ["four", "1.5", " "])
def test_what_is_no_number_is_refused_by_its_variable(text: str) -> None:
    with pytest.raises(SettingsError, match="DAYTWO_MODEL_SLOTS"):
        read_settings({"DAYTWO_MODEL_SLOTS": text})
