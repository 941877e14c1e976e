"""The mock provider as its clients see it, over HTTP on this machine."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import orjson
import pytest
from aiohttp import ClientPayloadError, ClientSession, ClientTimeout, ServerDisconnectedError

from services.mock_provider.answers import latency_share
from services.mock_provider.bill import Call
from services.mock_provider.distributions import Fixed, Lognormal
from services.mock_provider.settings import AT_ONCE
from tests.mock_provider.builders import NOW_S, Sleeps, a_provider, a_question, ask, served, set_faults


async def bill_of(client: ClientSession) -> dict[str, Any]:
    bill: dict[str, Any] = await (await client.get("/bill")).json()
    return bill


async def test_a_question_is_answered_and_charged_to_its_attempt() -> None:
    async with served(a_provider()) as client:
        answer = await (await ask(client, a_question(), attempt="a1")).json()
        bill = await bill_of(client)
    assert answer["choices"][0]["message"]["content"].startswith("answer ")
    assert answer["usage"]["total_tokens"] == answer["usage"]["prompt_tokens"] + 16
    assert bill["calls"] == [
        {
            "attempt_id": "a1",
            "model": "mock",
            "prompt_tokens": answer["usage"]["prompt_tokens"],
            "completion_tokens": 16,
            "at_ms": int(NOW_S * 1000),
            "status": 200,
            "charged": True,
            "delivered": True,
        }
    ]


async def test_a_call_without_an_attempt_is_charged_to_nobody() -> None:
    async with served(a_provider()) as client:
        await ask(client, a_question())
        assert (await bill_of(client))["calls"][0]["attempt_id"] is None


async def test_an_attempt_that_calls_twice_is_charged_twice() -> None:
    async with served(a_provider()) as client:
        await ask(client, a_question(), attempt="a1")
        await ask(client, a_question(), attempt="a1")
        assert [call["attempt_id"] for call in (await bill_of(client))["calls"]] == ["a1", "a1"]


async def test_a_request_that_makes_no_sense_is_refused_and_free() -> None:
    async with served(a_provider()) as client:
        response = await ask(client, a_question(max_tokens=-1))
        assert response.status == 400
        assert "max_tokens" in (await response.json())["error"]["message"]
        assert (await bill_of(client))["totals"]["calls"] == 0


@pytest.mark.parametrize(
    ("rule", "status", "retry_after"),
    [
        ({"kind": "status_429"}, 429, "1"),
        ({"kind": "status_429", "retry_after": 7.5}, 429, "7.5"),
        ({"kind": "status_429", "retry_after": None}, 429, None),
        ({"kind": "status_500"}, 500, None),
        ({"kind": "status_503", "retry_after": 20}, 503, "20"),
    ],
)
async def test_a_refused_call_has_its_status_and_retry_after_and_is_free(
    rule: dict[str, object], status: int, retry_after: str | None
) -> None:
    async with served(a_provider()) as client:
        await set_faults(client, rule)
        response = await ask(client, a_question(), attempt="a1")
        bill = await bill_of(client)
    assert response.status == status
    assert response.headers.get("Retry-After") == retry_after
    assert bill["calls"] == []
    assert bill["totals"]["uncharged"] == 1


@pytest.mark.parametrize("stream", [False, True])
async def test_a_refused_call_is_charged_undelivered_when_the_rule_says_so(stream: bool) -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "status_500", "charged": True})
        assert (await ask(client, a_question(stream=stream))).status == 500
        [call] = (await bill_of(client))["calls"]
    assert (call["status"], call["delivered"], call["completion_tokens"]) == (500, False, 16)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_body_cut_in_the_middle_is_charged_and_not_delivered(stream: bool) -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "cut_body", "count": 1})
        response = await ask(client, a_question(stream=stream), attempt="a1")
        assert response.status == 200
        with pytest.raises(ClientPayloadError):
            await response.read()
        assert (await ask(client, a_question())).status == 200
        first, second = (await bill_of(client))["calls"]
    assert (first["attempt_id"], first["completion_tokens"], first["delivered"]) == ("a1", 16, False)
    assert second["delivered"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_hanging_call_says_nothing_until_its_end_and_is_charged(stream: bool) -> None:
    provider = a_provider()
    async with served(provider) as client:
        await set_faults(client, {"kind": "hang", "after_ms": 90_000})
        with pytest.raises(ServerDisconnectedError):
            await ask(client, a_question(stream=stream))
        [call] = (await bill_of(client))["calls"]
    assert isinstance(provider.sleep, Sleeps)
    assert sum(provider.sleep.seconds) == pytest.approx(90)
    assert (call["status"], call["delivered"]) == (None, False)


async def test_a_hang_ends_when_its_client_leaves() -> None:
    looks = 0

    async def sleep(_: float) -> None:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0.005)

    async with served(replace(a_provider(), sleep=sleep)) as client:
        with pytest.raises(TimeoutError):
            await client.post("/v1/chat/completions", json=a_question(model="mock-hang"), timeout=ClientTimeout(total=0.05))
        await asyncio.sleep(0.05)
        looks_then = looks
        await asyncio.sleep(0.05)
        totals = (await bill_of(client))["totals"]
    assert looks == looks_then > 0
    assert (totals["calls"], totals["delivered"]) == (1, 0)


async def test_a_client_that_leaves_before_the_answer_is_charged_and_not_delivered_to() -> None:
    go_on = asyncio.Event()

    async def wait(_: float) -> None:
        await go_on.wait()

    behaviour = replace(AT_ONCE, latency_ms=Fixed(1))
    async with served(replace(a_provider(behaviour), sleep=wait)) as client:
        with pytest.raises(TimeoutError):
            await client.post("/v1/chat/completions", json=a_question(), timeout=ClientTimeout(total=0.05))
        assert (await bill_of(client))["totals"]["calls"] == 1
        go_on.set()
        await asyncio.sleep(0.05)
        bill = await bill_of(client)
    assert [call["delivered"] for call in bill["calls"]] == [False]


async def test_a_slow_call_comes_late_and_right() -> None:
    provider = a_provider()
    async with served(provider) as client:
        await set_faults(client, {"kind": "slow", "delay_ms": 1500})
        response = await ask(client, a_question())
        assert (await response.json())["usage"]["completion_tokens"] == 16
        assert (await bill_of(client))["calls"][0]["delivered"]
    assert isinstance(provider.sleep, Sleeps)
    assert provider.sleep.seconds == [1.5]


async def test_malformed_json_comes_with_status_200_and_is_charged() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "malformed_json"})
        response = await ask(client, a_question())
        assert response.status == 200
        with pytest.raises(json.JSONDecodeError):
            await response.json()
        [call] = (await bill_of(client))["calls"]
    assert not call["delivered"]


async def test_an_answer_without_usage_is_charged_all_the_same() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "no_usage"})
        assert "usage" not in await (await ask(client, a_question())).json()
        [call] = (await bill_of(client))["calls"]
    assert (call["completion_tokens"], call["delivered"]) == (16, True)


async def test_an_overbilled_call_reports_and_charges_more_than_it_said() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "overbill", "factor": 4})
        answer = await (await ask(client, a_question(max_tokens=5))).json()
        [call] = (await bill_of(client))["calls"]
    assert answer["usage"]["completion_tokens"] == call["completion_tokens"] == 20
    assert len(answer["choices"][0]["message"]["content"].split()) == 5


async def test_cleared_faults_bite_no_more() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "status_500"})
        assert (await ask(client, a_question())).status == 500
        assert (await (await client.get("/faults")).json())[0]["uses"] == 1
        await client.delete("/faults")
        assert (await ask(client, a_question())).status == 200


async def test_rules_that_make_no_sense_leave_the_present_ones_in_force() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "status_500"})
        assert (await client.put("/faults", json=[{"kind": "flood"}])).status == 400
        assert (await client.put("/faults", data=b"{")).status == 400
        assert (await ask(client, a_question())).status == 500


async def events_of(client: ClientSession, **fields: Any) -> list[bytes]:
    response = await ask(client, a_question(stream=True, **fields))
    assert response.headers["Content-Type"] == "text/event-stream"
    return [event.removeprefix(b"data: ") for event in (await response.read()).split(b"\n\n") if event]


async def test_a_stream_says_what_the_whole_answer_says_and_ends_with_done() -> None:
    async with served(a_provider()) as client:
        *events, done = await events_of(client)
        whole = await (await ask(client, a_question())).json()
        bill = await bill_of(client)
    chunks = [orjson.loads(event) for event in events]
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == (whole["choices"][0]["message"]["content"])
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert not any("usage" in chunk for chunk in chunks)
    assert done == b"[DONE]"
    assert [call["delivered"] for call in bill["calls"]] == [True, True]


async def test_a_stream_has_its_usage_in_the_last_chunk_when_asked() -> None:
    async with served(a_provider()) as client:
        events = await events_of(client, stream_options={"include_usage": True})
        [call] = (await bill_of(client))["calls"]
    last = orjson.loads(events[-2])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == call["completion_tokens"] == 16


async def test_a_streams_latency_is_spread_over_its_chunks() -> None:
    provider = a_provider(replace(AT_ONCE, latency_ms=Fixed(1000)))
    async with served(provider) as client:
        events = await events_of(client)
    assert isinstance(provider.sleep, Sleeps)
    assert len(provider.sleep.seconds) == len(events)
    assert sum(provider.sleep.seconds) == pytest.approx(1)


async def test_a_client_that_leaves_a_stream_is_charged_and_not_delivered_to() -> None:
    async with served(replace(a_provider(replace(AT_ONCE, latency_ms=Fixed(400))), sleep=asyncio.sleep)) as client:
        response = await ask(client, a_question(stream=True))
        await response.content.readline()
        response.close()
        await asyncio.sleep(0.5)
        [call] = (await bill_of(client))["calls"]
    assert (call["completion_tokens"], call["delivered"]) == (16, False)


async def test_a_broken_stream_has_an_event_that_is_not_json() -> None:
    async with served(a_provider()) as client:
        await set_faults(client, {"kind": "malformed_json"})
        events = await events_of(client)
        assert not (await bill_of(client))["calls"][0]["delivered"]
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(events[-1])


async def test_the_configuration_changes_while_it_runs() -> None:
    provider = a_provider()
    async with served(provider) as client:
        change = {"latency_ms": 250, "output_tokens": {"fixed": 3}}
        config = await (await client.put("/config", json=change)).json()
        assert config == {"latency_ms": {"fixed": 250}, "output_tokens": {"fixed": 3}, "seed": 0, "latency_by": "call"}
        answer = await (await ask(client, a_question())).json()
    assert answer["usage"]["completion_tokens"] == 3
    assert isinstance(provider.sleep, Sleeps)
    assert provider.sleep.seconds == [0.25]


@pytest.mark.parametrize("change", [[], {"latency": 5}, {"seed": -1}, {"seed": True}, {"latency_ms": "fast"}, {"latency_by": "user"}])
async def test_a_configuration_that_makes_no_sense_changes_nothing(change: object) -> None:
    async with served(a_provider()) as client:
        assert (await client.put("/config", json=change)).status == 400
        assert (await (await client.get("/config")).json()) == AT_ONCE.as_json()


async def test_the_same_seed_gives_the_same_latencies() -> None:
    provider = a_provider()
    async with served(provider) as client:
        for _ in range(2):
            await client.put("/config", json={"latency_ms": {"median": 100, "p99": 900}, "seed": 9})
            for _ in range(5):
                await ask(client, a_question())
    assert isinstance(provider.sleep, Sleeps)
    assert provider.sleep.seconds[:5] == provider.sleep.seconds[5:]
    assert len(set(provider.sleep.seconds)) == 5


async def test_a_latency_that_goes_by_question_is_the_same_each_time_and_known_to_whoever_asks() -> None:
    provider = a_provider()
    async with served(provider) as client:
        await client.put("/config", json={"latency_ms": {"median": 100, "p99": 900}, "latency_by": "question", "seed": 9})
        for question in ("Why?", "How?", "Why?"):
            await ask(client, a_question(question))
    why, how = (Lognormal(100, 900).quantile(latency_share(question, 9)) / 1000 for question in (b"Why?", b"How?"))
    assert isinstance(provider.sleep, Sleeps)
    assert provider.sleep.seconds == [why, how, why]
    assert why != how


async def test_a_bill_is_read_in_pages() -> None:
    async with served(a_provider()) as client:
        for number in range(5):
            await ask(client, a_question(), attempt=str(number))
        first = await (await client.get("/bill?since=0&limit=3")).json()
        rest = await (await client.get(f"/bill?since={first['next']}")).json()
        beyond = await (await client.get("/bill?since=99")).json()
        assert (await client.get("/bill?since=-1")).status == 400
    assert [call["attempt_id"] for call in first["calls"] + rest["calls"]] == ["0", "1", "2", "3", "4"]
    assert rest["next"] == 5
    assert beyond["calls"] == []


async def test_a_bill_longer_than_a_chunk_is_whole() -> None:
    provider = a_provider(capacity=10_000)
    for number in range(4_500):
        provider.bill.charge(Call(str(number), "mock", 1, 1, 0, 200))
    async with served(provider) as client:
        bill = await bill_of(client)
    assert [call["attempt_id"] for call in bill["calls"]] == [str(number) for number in range(4_500)]


async def test_a_full_bill_says_that_calls_are_missing_and_still_sums_them() -> None:
    async with served(a_provider(capacity=2)) as client:
        for _ in range(3):
            await ask(client, a_question())
        bill = await bill_of(client)
    assert bill["truncated"]
    assert len(bill["calls"]) == 2
    assert bill["totals"]["calls"] == 3


async def test_a_cleared_bill_starts_anew() -> None:
    async with served(a_provider()) as client:
        await ask(client, a_question())
        await client.delete("/bill")
        bill = await bill_of(client)
    assert bill["calls"] == []
    assert set(bill["totals"].values()) == {0}


async def test_health_and_models_are_told() -> None:
    async with served(a_provider()) as client:
        assert await (await client.get("/health")).json() == {"status": "ok"}
        names = [model["id"] for model in (await (await client.get("/v1/models")).json())["data"]]
    assert "mock" in names
    assert "mock-429" in names
