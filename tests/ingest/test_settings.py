from __future__ import annotations

import pytest

from daytwo.world import World
from services.ingest.build import build
from services.ingest.chunks import ChunkRules
from services.ingest.settings import Settings, SettingsError


def test_without_environment_every_setting_has_its_default() -> None:
    assert Settings.from_env({}) == Settings()


def test_settings_are_read_from_the_environment() -> None:
    env = {
        "DAYTWO_INGEST_MAX_REQUEST_BYTES": "2048",
        "DAYTWO_INGEST_MAX_MESSAGES": "5",
        "DAYTWO_INGEST_MAX_DOCUMENT_BYTES": "4096",
        "DAYTWO_INGEST_CHUNK_TOKENS": "100",
        "DAYTWO_INGEST_CHUNK_OVERLAP": "0",
        "DAYTWO_INGEST_MAX_CHUNKS": "7",
        "DAYTWO_INGEST_SPLITTERS": "1",
    }
    assert Settings.from_env(env) == Settings(
        max_request_bytes=2048,
        max_messages=5,
        max_document_bytes=4096,
        chunk_rules=ChunkRules(tokens=100, overlap=0, most=7),
        splitters=1,
    )


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DAYTWO_INGEST_MAX_MESSAGES", "many", "needs a whole number"),
        ("DAYTWO_INGEST_MAX_MESSAGES", "0", "needs to be between 1 and"),
        ("DAYTWO_INGEST_MAX_REQUEST_BYTES", "2000000", "needs to be between 1024 and 1572864"),
        ("DAYTWO_INGEST_CHUNK_OVERLAP", "101", "needs to be between 0 and 100"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str, says: str) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        Settings.from_env({name: value})
    assert str(caught.value).startswith(name)


def test_a_small_chunk_gets_a_small_overlap() -> None:
    assert Settings.from_env({"DAYTWO_INGEST_CHUNK_TOKENS": "20"}).chunk_rules.overlap == 10


def test_the_service_is_built_from_the_world() -> None:
    service = build(World(env={}))
    assert service.name == "ingest"
    assert [each.topic.name for each in service.inputs] == ["request-submitted", "document-submitted"]
    assert [follower.topic.name for follower in service.followers] == ["tenant-configured"]
    for each in service.inputs:
        assert service.name in each.topic.readers
