"""The read-only registry, asked by a stock Confluent client and by hand."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from daytwo.codec import decode, encode, registry
from daytwo.records import Message, RequestFinished, RequestSubmitted
from daytwo.registry import RegistryError, Schemas, application, canonical, main
from daytwo.topics import REQUEST_FINISHED, REQUEST_SUBMITTED, TOPICS

SCHEMAS = Schemas(registry())


@pytest.fixture
async def url() -> AsyncIterator[str]:
    server = TestServer(application(SCHEMAS))
    await server.start_server()
    yield str(server.make_url("")).rstrip("/")
    await server.close()


async def ask(url: str, method: str = "GET", **body: Any) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as session, session.request(method, url, **body) as response:
        return response.status, json.loads(await response.read())


async def elsewhere(work: Callable[[], Any]) -> Any:
    """Confluent's client blocks, and the server is in this loop."""
    return await asyncio.to_thread(work)


@pytest.mark.parametrize(
    "conf",
    [
        {"auto.register.schemas": False},
        {"auto.register.schemas": True},
        {"auto.register.schemas": False, "use.latest.version": True},
    ],
)
async def test_a_stock_confluent_client_writes_what_daytwo_reads(url: str, conf: dict[str, Any]) -> None:
    def work() -> bytes:
        with SchemaRegistryClient({"url": url}) as client:
            schema = client.get_latest_version("request-submitted-value").schema
            serialize = AvroSerializer(client, schema.schema_str, conf=conf)
            request = {"request_id": "r1", "tenant": "acme", "messages": [{"role": "user", "content": "hello"}]}
            return bytes(serialize(request, SerializationContext("request-submitted", MessageField.VALUE)) or b"")

    record = decode(REQUEST_SUBMITTED, await elsewhere(work), strict=True)

    assert record == RequestSubmitted(request_id="r1", tenant="acme", messages=(Message(role="user", content="hello"),))


async def test_a_stock_confluent_client_reads_what_daytwo_writes(url: str) -> None:
    answer = Message(role="assistant", content="hi")
    written = RequestFinished(request_id="r1", tenant="acme", outcome="answered", reason="ok", message=answer, finished_at_ms=7)

    def work() -> Any:
        with SchemaRegistryClient({"url": url}) as client:
            deserialize = AvroDeserializer(client)
            return deserialize(encode(REQUEST_FINISHED, written), SerializationContext("request-finished", MessageField.VALUE))

    read = await elsewhere(work)

    assert (read["request_id"], read["outcome"], read["message"]["content"]) == ("r1", "answered", "hi")


async def test_a_schema_that_is_not_released_is_not_registered(url: str) -> None:
    def work() -> None:
        other = '{"type": "record", "name": "X", "fields": []}'
        with SchemaRegistryClient({"url": url}) as client:
            serialize = AvroSerializer(client, other)
            serialize({}, SerializationContext("request-submitted", MessageField.VALUE))

    with pytest.raises(SchemaRegistryError, match="read-only"):
        await elsewhere(work)


async def test_every_topic_has_its_subject_and_every_path_answers(url: str) -> None:
    _, subjects = await ask(f"{url}/subjects")
    assert set(subjects) == {f"{topic.name}-value" for topic in TOPICS}
    _, latest = await ask(f"{url}/subjects/dead-letter-value/versions/latest")
    assert (latest["subject"], latest["id"]) == ("dead-letter-value", 18)
    version = f"{url}/subjects/dead-letter-value/versions/{latest['version']}"
    _, versions = await ask(f"{url}/subjects/dead-letter-value/versions")
    assert latest["version"] in versions
    assert await ask(version) == (200, latest)
    assert await ask(f"{version}/schema") == (200, json.loads(latest["schema"]))
    assert await ask(f"{url}/schemas/ids/18") == (200, {"schema": latest["schema"]})
    assert await ask(f"{url}/schemas/ids/18/schema") == (200, json.loads(latest["schema"]))
    assert await ask(f"{url}/schemas/ids/18/versions") == (200, [{"subject": "dead-letter-value", "version": latest["version"]}])
    assert await ask(f"{url}/schemas/types") == (200, ["AVRO"])
    assert await ask(f"{url}/mode") == (200, {"mode": "READONLY"})
    assert await ask(f"{url}/config") == (200, {"compatibilityLevel": "FULL_TRANSITIVE"})
    assert await ask(f"{url}/health") == (200, {"status": "ok"})


@pytest.mark.parametrize(
    ("method", "path", "body", "code"),
    [
        ("GET", "/schemas/ids/9999", None, 40403),
        ("GET", "/schemas/ids/x", None, 40403),
        ("GET", "/subjects/nothing/versions", None, 40401),
        ("GET", "/subjects/dead-letter-value/versions/99", None, 40402),
        ("GET", "/subjects/dead-letter-value/versions/x", None, 42202),
        ("POST", "/subjects/dead-letter-value", '{"schema": "{\\"type\\": \\"string\\"}"}', 40403),
        ("POST", "/subjects/nothing", '{"schema": "{\\"type\\": \\"string\\"}"}', 40401),
        ("POST", "/subjects/dead-letter-value", '{"schema": "not json"}', 42201),
        ("POST", "/subjects/dead-letter-value", '{"schema": 7}', 42201),
        ("POST", "/subjects/dead-letter-value", '{"schema": "{}", "schemaType": "PROTOBUF"}', 42201),
        ("POST", "/subjects/dead-letter-value", "not json", 42201),
        ("POST", "/subjects/dead-letter-value", json.dumps({"schema": "[" * 50_000}), 42201),
        ("POST", "/subjects/dead-letter-value", "x" * 2_000_000, 413),
        ("POST", "/subjects/dead-letter-value/versions", '{"schema": "{\\"type\\": \\"string\\"}"}', 42205),
        ("DELETE", "/subjects/dead-letter-value", None, 405),
        ("PUT", "/mode", '{"mode": "READWRITE"}', 405),
        ("PUT", "/config", "{}", 405),
        ("GET", "/associations/resources/t", None, 404),
    ],
)
async def test_errors_have_the_codes_clients_expect(url: str, method: str, path: str, body: str | None, code: int) -> None:
    status, answer = await ask(url + path, method, data=io.BytesIO(body.encode()) if body else None)
    assert status == int(str(code)[:3])
    assert answer["error_code"] == code
    assert answer["message"]


def test_a_look_up_ignores_documentation_and_formatting() -> None:
    schema = json.loads(SCHEMAS.version("document-finished-value", "latest")["schema"])
    plain = {**schema, "doc": "other", "fields": [{k: v for k, v in field.items() if k != "doc"} for field in schema["fields"]]}
    assert (
        SCHEMAS.look_up("document-finished-value", json.dumps(plain, indent=4))["id"]
        == SCHEMAS.version("document-finished-value", "1")["id"]
    )
    swapped = {**plain, "fields": plain["fields"][::-1]}
    with pytest.raises(RegistryError, match="no version like this"):
        SCHEMAS.look_up("document-finished-value", json.dumps(swapped))


@pytest.mark.parametrize("text", ["", "{", "[]x", '{"type": "nonsense"}', '{"type": "record"}', "7", "null"])
def test_what_is_no_schema_is_an_error_and_never_a_crash(text: str) -> None:
    with pytest.raises(RegistryError):
        canonical(text)


def test_a_port_that_is_none_is_one_line() -> None:
    with pytest.raises(SystemExit, match="DAYTWO_HTTP_PORT=http is no port"):
        main({"DAYTWO_HTTP_PORT": "http"})


async def test_a_taken_port_is_one_line() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    port = unused_port()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    done = await elsewhere(lambda: run({"DAYTWO_HTTP_PORT": str(port)}).communicate(timeout=20))
    await runner.cleanup()
    assert done[1].decode().startswith(f"cannot serve the registry at 127.0.0.1:{port}")
    assert done[1].count(b"\n") == 1


async def test_the_process_serves_and_ends_on_sigterm() -> None:
    port = unused_port()
    process = run({"DAYTWO_HTTP_PORT": str(port)})
    try:
        for _ in range(200):
            if await answers(port):
                break
            await asyncio.sleep(0.1)
        process.send_signal(signal.SIGTERM)
        assert await elsewhere(lambda: process.wait(timeout=10)) == 0
    finally:
        process.kill()
        process.communicate()


async def answers(port: int) -> bool:
    try:
        return (await ask(f"http://127.0.0.1:{port}/health"))[0] == 200
    except aiohttp.ClientError:
        return False


def run(env: dict[str, str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    command, pipe = [sys.executable, "-m", "daytwo.registry"], subprocess.PIPE
    return subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path, **env}, stderr=pipe, stdout=pipe)
