"""The registry view: any request has an answer that is JSON, and never one of the 500s."""

from __future__ import annotations

import asyncio
import json
from functools import cache
from typing import Final
from unittest import mock

from aiohttp import streams, web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from daytwo.codec import registry as released
from daytwo.registry import Schemas, application
from daytwo.topics import REQUEST_SUBMITTED

METHODS: Final = ("GET", "POST", "PUT", "DELETE")


def registry(data: bytes) -> None:
    """METHOD number, path up to the first line end, body."""
    line, _, body = data[1:].partition(b"\n")
    method = METHODS[(data[0] if data else 0) % len(METHODS)]
    response = asyncio.run(_answer(method, "/" + line.decode("utf-8", "replace").lstrip("/"), body))
    assert response.status < 500, response.status
    text = response.text if isinstance(response, web.Response) else ""
    answer = json.loads(text or "")
    assert response.status < 400 or answer["error_code"]


async def _answer(method: str, path: str, body: bytes) -> web.StreamResponse:
    loop = asyncio.get_running_loop()
    payload = streams.StreamReader(mock.Mock(_reading_paused=False), 2**16, loop=loop)
    payload.feed_data(body)
    payload.feed_eof()
    # yarl quotes what stands in no address, as every HTTP client and server does.
    request = make_mocked_request(method, str(URL(path)), payload=payload, loop=loop, client_max_size=1 << 20)
    app = _app()
    match = await app.router.resolve(request)
    match.add_app(app)
    request._match_info = match
    handler = match.handler
    middleware = app.middlewares[0]
    return await middleware(request, handler)


@cache
def _app() -> web.Application:
    return application(Schemas(released()))


def registry_seeds() -> list[bytes]:
    subject = f"{REQUEST_SUBMITTED.name}-value"
    schema = json.dumps(released()[REQUEST_SUBMITTED.schema_id]["schema"])
    body = json.dumps({"schema": schema, "schemaType": "AVRO", "references": []}).encode()
    small = json.dumps({"schema": '{"type": "record", "name": "a.B", "fields": [{"name": "c", "type": ["null", "B"]}]}'}).encode()
    gets = [
        "schemas/ids/1",
        "schemas/ids/1/schema",
        "schemas/ids/1/versions",
        "subjects",
        f"subjects/{subject}/versions/latest",
        f"subjects/{subject}/versions/1/schema",
        f"config/{subject}",
        "mode",
    ]
    posts = [f"subjects/{subject}", f"subjects/{subject}/versions"]
    return [
        *(b"\0" + path.encode() + b"\n" for path in gets),
        *(b"\1" + path.encode() + b"\n" + text for path in posts for text in (body, small)),
    ]
