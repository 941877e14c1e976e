"""The routes that tell the mock how to behave, and what it has charged."""

from collections.abc import AsyncIterator

import orjson
from aiohttp import web

from services.mock_provider.bill import Bill
from services.mock_provider.chat import Provider, refusal
from services.mock_provider.errors import InvalidSettingError
from services.mock_provider.faults import read_rules
from services.mock_provider.settings import changed

MODELS = ("mock", *(f"mock-{suffix}" for suffix in ("429", "500", "503", "hang", "cut", "slow")))
_BILL_CHUNK = 2_000


async def health(_: Provider, __: web.Request) -> web.StreamResponse:
    """`GET /health`"""
    return _json({"status": "ok"})


async def models(_: Provider, __: web.Request) -> web.StreamResponse:
    """`GET /v1/models`; a name that is not listed is answered, too."""
    data = [{"id": name, "object": "model", "created": 0, "owned_by": "daytwo"} for name in MODELS]
    return _json({"object": "list", "data": data})


async def show_config(provider: Provider, _: web.Request) -> web.StreamResponse:
    """`GET /config`"""
    return _json(provider.behaviour.as_json())


async def change_config(provider: Provider, request: web.Request) -> web.StreamResponse:
    """`PUT /config`: change the fields given; a `seed` also starts the latencies' sequence anew."""
    try:
        change = orjson.loads(await request.read())
        provider.behaviour = changed(provider.behaviour, change)
    except (orjson.JSONDecodeError, InvalidSettingError) as error:
        return refusal(400, str(error), "invalid_setting")
    if "seed" in change:
        provider.rng.seed(provider.behaviour.seed)
    return _json(provider.behaviour.as_json())


async def show_faults(provider: Provider, _: web.Request) -> web.StreamResponse:
    """`GET /faults`"""
    return _json(provider.faults.as_json())


async def replace_faults(provider: Provider, request: web.Request) -> web.StreamResponse:
    """`PUT /faults`: put these rules in force instead of the present ones, or none when one of them is wrong."""
    try:
        provider.faults.replace(read_rules(orjson.loads(await request.read())))
    except (orjson.JSONDecodeError, InvalidSettingError) as error:
        return refusal(400, str(error), "invalid_setting")
    return _json(provider.faults.as_json())


async def clear_faults(provider: Provider, _: web.Request) -> web.StreamResponse:
    """`DELETE /faults`"""
    provider.faults.replace([])
    return _json([])


async def show_bill(provider: Provider, request: web.Request) -> web.StreamResponse:
    """`GET /bill?since=N&limit=M`: the calls with index N and after, at most M of them; all without either.

    `next` is the `since` of the next page, `truncated` whether calls are missing because the bill was full.
    """
    bill = provider.bill
    try:
        start = _read_index(request, "since", 0)
        limit = _read_index(request, "limit", bill.capacity)
    except InvalidSettingError as error:
        return refusal(400, str(error), "invalid_setting")
    end = max(min(start + limit, bill.listed), start)
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    async for chunk in _bill_chunks(bill, start, end):
        await response.write(chunk)
    return response


async def clear_bill(provider: Provider, _: web.Request) -> web.StreamResponse:
    """`DELETE /bill`"""
    provider.bill.clear()
    return _json(provider.bill.totals.as_json())


async def _bill_chunks(bill: Bill, start: int, end: int) -> AsyncIterator[bytes]:
    """A long bill in pieces, between which other requests are served."""
    head = orjson.dumps({"totals": bill.totals.as_json(), "truncated": bill.truncated, "next": end})
    yield head[:-1] + b',"calls":['
    for at in range(start, end, _BILL_CHUNK):
        calls = orjson.dumps(list(bill.page(at, min(at + _BILL_CHUNK, end))))[1:-1]
        yield b"," + calls if at > start else calls
    yield b"]}"


def _read_index(request: web.Request, name: str, default: int) -> int:
    text = request.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()):
        raise InvalidSettingError(f"{name}: needs a whole number >= 0")
    return int(text)


def _json(value: object) -> web.Response:
    return web.Response(body=orjson.dumps(value), content_type="application/json")
