"""The ways in on real Kafka, with the registry of the stack; services that only echo."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from pathlib import Path

import pytest

from daytwo.client import Client
from daytwo.kafka import KafkaBroker
from tests.client.services import services

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]


@pytest.fixture
def kafka() -> str:
    return os.environ["DAYTWO_KAFKA"]


@pytest.fixture
def tenant() -> str:
    return f"client-{uuid.uuid4().hex[:8]}"


async def run_script(*arguments: str) -> tuple[int, str, str]:
    env = {**os.environ, "PYTHONPATH": str(ROOT / "libs")}
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, *arguments, env=env, stdout=pipe, stderr=pipe, cwd=ROOT)
    try:
        out, err = await asyncio.wait_for(process.communicate(), 90)
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(), err.decode()


async def test_hundreds_of_questions_get_each_their_answer(kafka: str, tenant: str) -> None:
    async with services(KafkaBroker(kafka), tenant=tenant), Client(kafka, tenant=tenant) as daytwo:
        results = await asyncio.gather(*[daytwo.ask(f"question {n}") for n in range(300)])
        added = await daytwo.add_document("a.md", "# A", "manual")
    assert [result.message.content for result in results if result.message] == [f"echo: question {n}" for n in range(300)]
    assert added.outcome == "indexed"


async def test_the_examples_get_their_answer() -> None:
    async with services(KafkaBroker(os.environ["DAYTWO_KAFKA"]), tenant="support"):
        ours = await run_script("examples/ask.py")
        stock = await run_script("examples/stock_client.py")
    assert ours == (0, "echo: What does a consumer group do?\n", "")
    assert (stock[0], stock[1]) == (0, "answered ok echo: What does a consumer group do?\n"), stock[2]


async def test_the_command_does_the_same(kafka: str, tenant: str, tmp_path: Path) -> None:
    async def daytwo(*arguments: str) -> tuple[int, str, str]:
        return await run_script("-m", "daytwo.cli", "--kafka", kafka, *arguments)

    async with services(KafkaBroker(kafka), tenant=tenant):
        assert (await daytwo("ask", "--tenant", tenant, "hello"))[:2] == (0, "echo: hello\n")
    code, out, err = await daytwo("usage", "--tenant", tenant, "--since", "1h", "--json")
    assert code == 0, err
    assert '"requests": 1' in out
    assert (await daytwo("topics"))[0] == 0
    assert '"services"' in (await daytwo("status", "--json"))[1]
