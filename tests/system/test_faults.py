"""A smoke of faults: under load every service is killed once and Kafka is restarted once, and nothing is lost or doubled."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from daytwo.errors import RetryableError
from daytwo.records import RequestFinished, RequestSubmitted
from tests.libs.builders import until
from tests.stack import ROOT
from tests.system.road import Road, request, road

pytestmark = [pytest.mark.stack, pytest.mark.system]

SERVICES = ("ingest-0", "cost-meter-0", "embedder-0", "cache-0", "retriever-0", "inference-router-0", "alerter-0")
PER_SECOND = 20


def status(stack: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What `make status` tells of each program, by name."""
    environment = {**os.environ, "DAYTWO_STATE": stack["state"]}
    command = [sys.executable, "-m", "deploy.local", "status", "--json"]
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False).stdout
    return {program["name"]: program for program in json.loads(told)}


async def kill_and_wait(stack: Mapping[str, Any], name: str) -> None:
    """kill -9, and wait until the supervisor has it running and it says that it is ready."""
    before = (await asyncio.to_thread(status, stack))[name]["pid"]
    os.kill(before, signal.SIGKILL)
    async with asyncio.timeout(60):
        while True:
            await asyncio.sleep(0.5)
            program = (await asyncio.to_thread(status, stack))[name]
            if program["pid"] not in (None, before) and program["health"] == "ready":
                return


async def load(it: Road, stop: asyncio.Event, sent: list[str]) -> None:
    """A steady load of questions, some of them repeats, of tenants with and without a cache."""
    number = 0
    while not stop.is_set():
        number += 1
        tenant = ("plain", "cached")[number % 2]
        one = request(tenant, f"Question {number if tenant == 'plain' else number % 20}", deadline_ms=0)
        sent.append(one.request_id)
        await submit_until_acknowledged(it, one)
        await asyncio.sleep(1 / PER_SECOND)


async def submit_until_acknowledged(it: Road, one: RequestSubmitted) -> None:
    """What a client does while Kafka is away: the same id again, until it is on the log."""
    while True:
        try:
            return await it.submit(one)
        except RetryableError:
            await asyncio.sleep(0.2)


def audit(stack: Mapping[str, Any]) -> dict[str, Any]:
    environment = {**os.environ, "DAYTWO_STATE": stack["state"], "DAYTWO_KAFKA": stack["kafka"]}
    command = [sys.executable, "-m", "daytwo.cli", "audit", "--json"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


async def test_every_service_and_kafka_may_be_killed_under_load_and_the_audit_is_clean(daytwo: dict[str, Any]) -> None:
    sent: list[str] = []
    stop = asyncio.Event()
    async with road(daytwo) as it:
        loading = asyncio.create_task(load(it, stop, sent))
        for name in (*SERVICES, "kafka"):
            await asyncio.sleep(1)
            await kill_and_wait(daytwo, name)
        await asyncio.sleep(2)
        stop.set()
        await loading
        await until(lambda: all(identity in it.results for identity in sent), 90)
        first: list[RequestFinished] = [it.results[identity][0] for identity in sent]

    assert len(sent) > 100
    not_answered = {(result.outcome, result.reason) for result in first if result.outcome != "answered"}
    assert not_answered == set()
    audit(daytwo)
