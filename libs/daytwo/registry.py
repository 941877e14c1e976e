"""The schemas behind a Confluent-compatible registry API, read-only: what stock serializers of any language ask for.

`python -m daytwo.registry` serves it at DAYTWO_HOST (127.0.0.1), DAYTWO_HTTP_PORT (8081). Ids are those of the release,
so there is nothing to store; who has a registry of his own imports the same schemas with the same ids.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

from aiohttp import web
from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

from daytwo.codec import registry

CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
LARGEST_BODY = 1024 * 1024


class RegistryError(Exception):
    """An answer that is an error, with the registry's own code; its first three digits are the HTTP status."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code

    @property
    def status(self) -> int:
        return int(str(self.code)[:3])


class Schemas:
    """Released schemas by id, and by subject and version. `entries` are {id: {subject, version, schema}}."""

    def __init__(self, entries: Mapping[int, Mapping[str, Any]]) -> None:
        self._by_id = {number: _answer(number, entry) for number, entry in entries.items()}
        self._by_subject: dict[str, dict[int, dict[str, Any]]] = {}
        for answer in self._by_id.values():
            self._by_subject.setdefault(answer["subject"], {})[answer["version"]] = answer

    def subjects(self) -> list[str]:
        return sorted(self._by_subject)

    def versions(self, subject: str) -> list[int]:
        return sorted(self._of(subject))

    def by_id(self, number: str) -> dict[str, Any]:
        found = self._by_id.get(int(number)) if number.isdecimal() and len(number) < 11 else None
        if found is None:
            raise RegistryError(40403, f"Schema {number} not found")
        return found

    def version(self, subject: str, version: str) -> dict[str, Any]:
        """`version` is a number, or latest."""
        versions = self._of(subject)
        if version in ("latest", "-1"):
            return versions[max(versions)]
        if not version.isdecimal():
            raise RegistryError(42202, "The specified version is not a valid version id: 1 and above, or latest")
        if len(version) > 9 or int(version) not in versions:
            raise RegistryError(40402, f"Version {version} not found")
        return versions[int(version)]

    def look_up(self, subject: str, schema: str) -> dict[str, Any]:
        """The version that says the same, whatever its documentation and formatting."""
        versions = self._of(subject)
        wanted = canonical(schema)
        found = [answer for answer in versions.values() if self._canonical[answer["id"]] == wanted]
        if not found:
            raise RegistryError(40403, f"Schema not found: {subject} has no version like this one")
        return max(found, key=lambda answer: int(answer["version"]))

    @cached_property
    def _canonical(self) -> dict[int, str]:
        return {number: canonical(answer["schema"]) for number, answer in self._by_id.items()}

    def _of(self, subject: str) -> dict[int, dict[str, Any]]:
        if subject not in self._by_subject:
            raise RegistryError(40401, f"Subject '{subject}' not found")
        return self._by_subject[subject]


def _answer(number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"subject": entry["subject"], "version": entry["version"], "id": number, "schema": json.dumps(entry["schema"])}


def canonical(schema: str) -> str:
    """Avro's parsing canonical form: without docs, defaults and formatting. Raises RegistryError for what is no schema."""
    try:
        return str(to_parsing_canonical_form(json.loads(schema)))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError, SchemaParseException, UnknownType) as error:
        raise RegistryError(42201, f"Invalid Avro schema: {error}") from error


def application(schemas: Schemas) -> web.Application:
    """Every route; what is not here is 404, what would change anything is refused."""
    app = web.Application(middlewares=[_errors], client_max_size=LARGEST_BODY)
    routes = _Routes(schemas)
    app.router.add_get("/health", _constant({"status": "ok"}))
    app.router.add_get("/", _constant({}))
    app.router.add_get("/mode", _constant({"mode": "READONLY"}))
    app.router.add_get("/mode/{subject}", _constant({"mode": "READONLY"}))
    app.router.add_get("/config", _constant({"compatibilityLevel": "FULL_TRANSITIVE"}))
    app.router.add_get("/config/{subject}", _constant({"compatibilityLevel": "FULL_TRANSITIVE"}))
    app.router.add_get("/schemas/types", _constant(["AVRO"]))
    app.router.add_get("/schemas/ids/{id}", routes.schema)
    app.router.add_get("/schemas/ids/{id}/schema", routes.schema_alone)
    app.router.add_get("/schemas/ids/{id}/versions", routes.schema_versions)
    app.router.add_get("/subjects", routes.subjects)
    app.router.add_get("/subjects/{subject}/versions", routes.versions)
    app.router.add_get("/subjects/{subject}/versions/{version}", routes.version)
    app.router.add_get("/subjects/{subject}/versions/{version}/schema", routes.version_alone)
    app.router.add_post("/subjects/{subject}", routes.look_up)
    app.router.add_post("/subjects/{subject}/versions", routes.register)
    return app


class _Routes:
    def __init__(self, schemas: Schemas) -> None:
        self._schemas = schemas

    async def schema(self, request: web.Request) -> web.Response:
        return _json({"schema": self._schemas.by_id(request.match_info["id"])["schema"]})

    async def schema_alone(self, request: web.Request) -> web.Response:
        return _text(self._schemas.by_id(request.match_info["id"])["schema"])

    async def schema_versions(self, request: web.Request) -> web.Response:
        found = self._schemas.by_id(request.match_info["id"])
        return _json([{"subject": found["subject"], "version": found["version"]}])

    async def subjects(self, request: web.Request) -> web.Response:
        return _json(self._schemas.subjects())

    async def versions(self, request: web.Request) -> web.Response:
        return _json(self._schemas.versions(request.match_info["subject"]))

    async def version(self, request: web.Request) -> web.Response:
        return _json(self._schemas.version(request.match_info["subject"], request.match_info["version"]))

    async def version_alone(self, request: web.Request) -> web.Response:
        return _text(self._schemas.version(request.match_info["subject"], request.match_info["version"])["schema"])

    async def look_up(self, request: web.Request) -> web.Response:
        return _json(self._schemas.look_up(request.match_info["subject"], await _schema_in(request)))

    async def register(self, request: web.Request) -> web.Response:
        """Registering what is there already changes nothing, so a client that registers before it writes works too."""
        schema = await _schema_in(request)
        try:
            found = self._schemas.look_up(request.match_info["subject"], schema)
        except RegistryError as error:
            if error.code == 42201:
                raise
            raise RegistryError(42205, f"This registry is read-only; its schemas come with the release of daytwo ({error})") from error
        return _json({"id": found["id"]})


async def _schema_in(request: web.Request) -> str:
    try:
        body = json.loads(await request.read())
        schema, kind = body["schema"], body.get("schemaType") or "AVRO"
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RegistryError(42201, 'The body must be JSON like {"schema": "..."}') from error
    if kind != "AVRO" or not isinstance(schema, str):
        raise RegistryError(42201, f"Only Avro schemas, as JSON text, are known here, not {kind}")
    return schema


def _constant(answer: Any) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def handler(request: web.Request) -> web.Response:
        return _json(answer)

    return handler


def _json(answer: Any, status: int = 200) -> web.Response:
    return web.json_response(answer, status=status, content_type=CONTENT_TYPE)


def _text(answer: str) -> web.Response:
    return web.Response(text=answer, content_type=CONTENT_TYPE)


@web.middleware
async def _errors(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Errors as the registry's clients expect them."""
    try:
        return await handler(request)
    except RegistryError as error:
        return _json({"error_code": error.code, "message": str(error)}, error.status)
    except web.HTTPMethodNotAllowed:
        return _json({"error_code": 405, "message": "This registry is read-only; its schemas come with the release of daytwo"}, 405)
    except web.HTTPException as error:
        return _json({"error_code": error.status, "message": f"HTTP {error.status} {error.reason}"}, error.status)


def main(env: Mapping[str, str]) -> None:
    """Serves until SIGTERM. Raises SystemExit with one line for a port that is none or taken."""
    host, port = env.get("DAYTWO_HOST", "127.0.0.1"), env.get("DAYTWO_HTTP_PORT", "8081")
    if not port.isdecimal() or not 0 < int(port) < 65_536:
        raise SystemExit(f"DAYTWO_HTTP_PORT={port} is no port")
    try:
        web.run_app(application(Schemas(registry())), host=host, port=int(port), print=None, access_log=None)
    except OSError as error:
        raise SystemExit(f"cannot serve the registry at {host}:{port}: {error.strerror or error}") from error


if __name__ == "__main__":
    main(os.environ)
