"""`POST /v1/chat/completions`: the call is put on the bill, then answered, late, in part or not at all."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random

import orjson
from aiohttp import web

from services.mock_provider.answers import (
    Answer,
    ChatRequest,
    Usage,
    compose,
    latency_share,
    read_request,
    streamed_answer,
    whole_answer,
)
from services.mock_provider.bill import Bill, Call, Receipt
from services.mock_provider.errors import InvalidRequestError
from services.mock_provider.faults import FaultKind, FaultRule, Faults
from services.mock_provider.settings import Behaviour

ATTEMPT_HEADER = "x-daytwo-attempt"
_GONE_CHECK_S = 0.25

Clock = Callable[[], float]
Sleep = Callable[[float], Awaitable[None]]


@dataclass(slots=True, kw_only=True)
class Provider:
    """What a running mock provider is made of; `behaviour` and the rules of `faults` change while it runs.

    `clock` gives seconds since 1970, `sleep` takes seconds, `rng` decides latencies and faults.
    """

    behaviour: Behaviour
    faults: Faults
    bill: Bill
    rng: Random
    clock: Clock
    sleep: Sleep = asyncio.sleep
    calls: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Running:
    """A call under way: what is to be said, when, and what goes wrong. `receipt` is None when it is not charged."""

    name: str
    created_s: int
    asked: ChatRequest
    answer: Answer
    usage: Usage
    fault: FaultRule
    wait_s: float
    receipt: Receipt | None


async def complete_chat(provider: Provider, request: web.Request) -> web.StreamResponse:
    """Answer a chat request, or fail it as the fault rules say.

    The call is charged when the model starts on it, before any latency: from then on no time-out, cut
    connection or crash takes it off the bill.
    """
    try:
        asked = read_request(await request.read())
    except InvalidRequestError as error:
        return refusal(400, str(error), "invalid_request_error")
    running = _start(provider, asked, request.headers.get(ATTEMPT_HEADER))
    status = running.fault.status
    if asked.stream and status == 200:
        return await _stream(provider, request, running)
    if running.wait_s:
        await provider.sleep(running.wait_s)
    if status is None:
        return await _hang(provider, request, running.fault)
    if status != 200:
        return _fail(status, running.fault)
    return await _answer(provider, request, running)


def refusal(status: int, message: str, kind: str) -> web.Response:
    """An error as the OpenAI API words it."""
    body = orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": kind}})
    return web.Response(status=status, body=body, content_type="application/json")


def _start(provider: Provider, asked: ChatRequest, attempt_id: str | None) -> _Running:
    """Decide what becomes of the call, and charge it."""
    behaviour, bill, now_s = provider.behaviour, provider.bill, provider.clock()
    fault = provider.faults.choose(asked.model, provider.rng.random)
    answer = compose(asked, behaviour.output_tokens, behaviour.seed)
    tokens = round(answer.tokens * fault.factor) if fault.kind is FaultKind.OVERBILL else answer.tokens
    receipt = None
    if fault.charged:
        call = Call(attempt_id, asked.model, asked.prompt_tokens, tokens, int(now_s * 1000), fault.status)
        receipt = bill.charge(call)
    else:
        bill.refuse()
    provider.calls += 1
    return _Running(
        name=f"chatcmpl-mock-{provider.calls}",
        created_s=int(now_s),
        asked=asked,
        answer=answer,
        usage=Usage(prompt_tokens=asked.prompt_tokens, completion_tokens=tokens),
        fault=fault,
        wait_s=(_latency_ms(provider, asked) + fault.delay_ms) / 1000,
        receipt=receipt,
    )


def _latency_ms(provider: Provider, asked: ChatRequest) -> float:
    behaviour = provider.behaviour
    if behaviour.latency_by == "question":
        return behaviour.latency_ms.quantile(latency_share(asked.question.encode(), behaviour.seed))
    return behaviour.latency_ms.quantile(provider.rng.random())


async def _answer(provider: Provider, request: web.Request, running: _Running) -> web.StreamResponse:
    """The whole answer, or what the fault leaves of it."""
    kind = running.fault.kind
    usage = None if kind is FaultKind.NO_USAGE else running.usage
    body = whole_answer(running.name, running.created_s, running.asked.model, running.answer, usage)
    if kind is FaultKind.CUT_BODY:
        response = web.StreamResponse()
        response.content_length = len(body)
        response.content_type = "application/json"
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        return await _cut(provider, request, response, running.fault)
    if kind is FaultKind.MALFORMED_JSON:
        body = body[: len(body) // 2]
    else:
        _note_delivery(provider, request, running)
    return web.Response(body=body, content_type="application/json")


async def _stream(provider: Provider, request: web.Request, running: _Running) -> web.StreamResponse:
    """Server-sent events, over which the call's latency is spread evenly; half of them when the fault cuts."""
    kind, asked = running.fault.kind, running.asked
    usage = running.usage if asked.include_usage and kind is not FaultKind.NO_USAGE else None
    events = streamed_answer(running.name, running.created_s, asked.model, running.answer, usage)
    pause_s = running.wait_s / len(events)
    if kind is FaultKind.CUT_BODY:
        events = events[: len(events) // 2]
    elif kind is FaultKind.MALFORMED_JSON:
        events = [*events[: len(events) // 2], b'data: {"id": \n\n']
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
    try:
        await response.prepare(request)
        for event in events if pause_s else (b"".join(events),):
            if pause_s:
                await provider.sleep(pause_s)
            await response.write(event)
    except ConnectionResetError:  # the client is gone; the call stays on the bill, undelivered
        return response
    if kind is FaultKind.CUT_BODY:
        return await _cut(provider, request, response, running.fault)
    if kind is not FaultKind.MALFORMED_JSON:
        _note_delivery(provider, request, running)
    return response


def _note_delivery(provider: Provider, request: web.Request, running: _Running) -> None:
    """Delivered means: the whole, right answer goes to a connection that is open. More a server cannot know."""
    if running.receipt is not None and not _gone(request):
        provider.bill.deliver(running.receipt)


def _fail(status: int, fault: FaultRule) -> web.Response:
    kind = "rate_limit_exceeded" if status == 429 else "server_error"
    response = refusal(status, f"the mock provider was told to answer {status}", kind)
    if fault.retry_after_s is not None:
        response.headers["Retry-After"] = f"{fault.retry_after_s:g}"
    return response


async def _hang(provider: Provider, request: web.Request, fault: FaultRule) -> web.StreamResponse:
    """Say nothing until `after_ms` have passed or the client has gone, then close."""
    await _wait_while_open(provider, request, fault.after_ms / 1000)
    _close(request)
    return web.Response()


async def _cut(provider: Provider, request: web.Request, response: web.StreamResponse, fault: FaultRule) -> web.StreamResponse:
    """Close the connection under a body that has begun."""
    await _wait_while_open(provider, request, fault.after_ms / 1000)
    _close(request)
    return response


async def _wait_while_open(provider: Provider, request: web.Request, seconds: float) -> None:
    # aiohttp tells a handler only by cancelling it that the client has gone, and only for a whole server; a call
    # must not be cancelled, since its charge and delivery are noted after waits. So look from time to time.
    while seconds > 0 and not _gone(request):
        await provider.sleep(min(seconds, _GONE_CHECK_S))
        seconds -= _GONE_CHECK_S


def _gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _close(request: web.Request) -> None:
    if request.transport is not None:
        request.transport.close()
