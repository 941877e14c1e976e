import tempfile
from pathlib import Path

import pytest

from deploy.local.errors import SetupError
from deploy.local.settings import SERVICES, SOCKET_PATH_LIMIT, Settings, parse_replicas, read_settings

ROOT = Path("/srv/daytwo")


def settings(env: dict[str, str], only: str = "") -> Settings:
    return read_settings(env, ROOT, ROOT / ".venv/bin/python", only)


def test_the_state_is_one_folder_in_the_repository() -> None:
    assert settings({}).state == ROOT / ".daytwo"


def test_the_jars_are_shared_by_all_states() -> None:
    assert settings({"DAYTWO_STATE": ".daytwo-test"}).cache == settings({}).cache


def test_only_is_a_list_of_names() -> None:
    assert settings({}, "kafka, topics,").only == {"kafka", "topics"}


def test_the_control_socket_stands_in_the_state_folder() -> None:
    assert settings({}).socket == ROOT / ".daytwo" / "supervisor.sock"


def test_in_a_deep_state_folder_the_control_socket_gets_a_short_path_of_its_own() -> None:
    first, second = (settings({"DAYTWO_STATE": "/deep" * 20 + name}).socket for name in ("/a", "/b"))

    assert len(str(first)) <= SOCKET_PATH_LIMIT
    assert first.parent == Path(tempfile.gettempdir())
    assert first != second


def test_a_service_not_named_has_one_replica() -> None:
    assert parse_replicas("inference_router=2, cache=3") == dict.fromkeys(SERVICES, 1) | {"inference_router": 2, "cache": 3}


@pytest.mark.parametrize("text", ["router=2", "cache", "cache=0", "cache=10", "cache=x"])
def test_replicas_that_cannot_be_meant_are_refused_with_the_known_services(text: str) -> None:
    with pytest.raises(SetupError, match=r"DAYTWO_REPLICAS.*ingest"):
        parse_replicas(text)


def test_a_service_of_which_there_is_one_process_gets_no_replica() -> None:
    with pytest.raises(SetupError, match="alerter runs in one process"):
        parse_replicas("alerter=2")


@pytest.mark.parametrize("env", [{"DAYTWO_PORTS": "any"}, {"DAYTWO_ONE_PROCESS": "maybe"}])
def test_a_misspelt_setting_is_refused_by_name(env: dict[str, str]) -> None:
    with pytest.raises(SetupError, match=next(iter(env))):
        settings(env)
