"""Rules about the contract as data."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import yaml

from schemas.compatibility import IncompatibleError, Releases, problems, without_docs
from schemas.generate import generated
from schemas.load import HERE, Contract, load

CONTRACT = load()


def test_everything_that_follows_from_the_schemas_is_up_to_date() -> None:
    stale = [str(path) for path, text in generated().items() if not path.exists() or path.read_text() != text]

    assert stale == [], "run `make schemas`"


@pytest.mark.parametrize("topic", CONTRACT.topics, ids=lambda topic: topic.name)
def test_every_released_version_reads_every_other_and_is_read_by_it(topic: object) -> None:
    versions = Releases(HERE / "released").versions(topic.name)  # type: ignore[attr-defined]

    for one in versions.values():
        for other in versions.values():
            assert problems(one, other) == []


def test_every_field_and_type_says_what_it_is() -> None:
    for name, schema in CONTRACT.types.items():
        assert schema["doc"].strip(), name
        for field in schema.get("fields", ()):
            assert field["doc"].strip(), f"{name}.{field['name']}"


def test_ids_are_given_once() -> None:
    ids = [schema_id for versions in Releases(HERE / "released").ids.values() for schema_id in versions.values()]

    assert len(ids) == len(set(ids))


def changed(change: str) -> Contract:
    """The contract with one field of request-finished changed."""
    types = copy.deepcopy(dict(CONTRACT.types))
    fields = types["RequestFinished"]["fields"]
    if change == "field without default":
        fields.append({"name": "added", "type": "string", "doc": "."})
    elif change == "field with default":
        fields.append({"name": "added", "type": "string", "doc": ".", "default": ""})
    elif change == "other type":
        next(field for field in fields if field["name"] == "reason")["type"] = "long"
    elif change == "field removed":
        fields[:] = [field for field in fields if field["name"] != "reason"]
    return Contract(topics=CONTRACT.topics, types=types)


@pytest.mark.parametrize("change", ["field without default", "other type", "field removed"])
def test_a_change_that_breaks_a_reader_or_a_writer_is_refused(change: str) -> None:
    with pytest.raises(IncompatibleError, match="request-finished is not compatible with version 1"):
        Releases(HERE / "released").add(changed(change))


def test_a_compatible_change_gets_the_next_version_and_an_id_of_its_own() -> None:
    releases = Releases(HERE / "released")
    highest = max(schema_id for versions in releases.ids.values() for schema_id in versions.values())
    latest = max(map(int, releases.ids["request-finished"]))

    releases.add(changed("field with default"))

    assert releases.ids["request-finished"][str(latest + 1)] == highest + 1


def test_words_do_not_make_a_new_version() -> None:
    schema = {"type": "record", "name": "R", "doc": "a", "fields": [{"name": "x", "type": "int", "doc": "b"}]}

    assert without_docs(schema) == without_docs(json.loads(json.dumps(schema).replace('"a"', '"c"').replace('"b"', '"d"')))


def test_the_journal_lies_where_the_owner_of_a_request_finds_it() -> None:
    topics = {topic.name: topic for topic in CONTRACT.topics}
    plain = topics["request-grounded"].key.replace("request.", "")

    for journal in ("attempt-started", "attempt-finished"):
        assert topics[journal].partitions == topics["request-grounded"].partitions
        assert topics[journal].key == plain


def test_asyncapi_describes_every_topic() -> None:
    document = yaml.safe_load((Path(HERE).parent / "docs/asyncapi.yaml").read_text())

    assert document["asyncapi"].startswith("3.")
    assert set(document["channels"]) == {topic.name for topic in CONTRACT.topics}
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]
