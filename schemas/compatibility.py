"""Released versions of the schemas: their fixed ids, and the rule that all versions read each other.

Two versions are compatible if each reads what the other wrote (FULL_TRANSITIVE in the Confluent registry's words).
"""

from __future__ import annotations

import json
from pathlib import Path

from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType
from avro.schema import parse

from schemas.load import Contract, Schema


class IncompatibleError(ValueError):
    """A change that breaks a reader or a writer of a released version."""


def without_docs(schema: Schema) -> Schema:
    """What a schema says to the wire; two schemas that differ in docs only are one."""
    if isinstance(schema, dict):
        return {key: without_docs(value) for key, value in schema.items() if key != "doc"}
    return [without_docs(item) for item in schema] if isinstance(schema, list) else schema


def problems(one: Schema, other: Schema) -> list[str]:
    """Why `one` and `other` cannot read each other; empty if they can."""
    found = []
    for reader, writer, way in ((one, other, "reading the older"), (other, one, "read by the older")):
        result = _checker().get_compatibility(parse(json.dumps(reader)), parse(json.dumps(writer)))
        if result.compatibility is not SchemaCompatibilityType.compatible:
            found += [f"{way}: {message} at {sorted(result.locations)}" for message in sorted(result.messages)]
    return found


def _checker() -> ReaderWriterCompatibilityChecker:
    return ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]


class Releases:
    """`schemas/released/`: `<topic>/<version>.avsc` and `ids.json` ({topic: {version: id}})."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ids = folder / "ids.json"
        self.ids: dict[str, dict[str, int]] = json.loads(ids.read_text()) if ids.exists() else {}

    def versions(self, topic: str) -> dict[int, Schema]:
        """Released schemas by version."""
        return {int(version): json.loads((self.folder / topic / f"{version}.avsc").read_text()) for version in self.ids.get(topic, {})}

    def add(self, contract: Contract) -> dict[Path, str]:
        """Files that release whatever changed, under the next version and the next free id.

        Raises IncompatibleError where a schema does not read, or is not read by, a released version of it.
        """
        files: dict[Path, str] = {}
        for topic in contract.topics:
            current = contract.inlined(topic.record)
            versions = self.versions(topic.name)
            for version, released in versions.items():
                if found := problems(current, released):
                    raise IncompatibleError(f"{topic.name} is not compatible with version {version}: " + "; ".join(found))
            latest = max(versions, default=0)
            if not versions or without_docs(current) != without_docs(versions[latest]):
                latest += 1
                next_id = 1 + max((i for of_topic in self.ids.values() for i in of_topic.values()), default=0)
                self.ids.setdefault(topic.name, {})[str(latest)] = next_id
            files[self.folder / topic.name / f"{latest}.avsc"] = json.dumps(current, indent=1) + "\n"
        files[self.folder / "ids.json"] = json.dumps(self.ids, indent=1) + "\n"
        return files

    def registry(self, changed: dict[Path, str]) -> dict[str, dict[str, object]]:
        """{id: {subject, version, schema}} of every released schema, as the wire and the registry view need it."""
        view: dict[str, dict[str, object]] = {}
        for topic, versions in self.ids.items():
            for version, schema_id in versions.items():
                path = self.folder / topic / f"{version}.avsc"
                text = changed.get(path) or path.read_text()
                view[str(schema_id)] = {
                    "subject": f"{topic}-value",
                    "version": int(version),
                    "schema": json.loads(text),
                }
        return view
