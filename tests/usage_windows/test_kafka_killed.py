"""Kafka killed under usage-windows and started again: its sums are those of the log."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.stack import ROOT, running_stack
from tests.usage_windows.test_exact import settled, write_all

pytestmark = pytest.mark.stack


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """A Kafka of its own, and usage-windows; both are started again when they die."""
    with running_stack("kafka,topics,usage-windows", tmp_path / "state") as found:
        yield {**found, "state": tmp_path / "state"}


def pid_of(state: Path, name: str) -> int:
    env = {**os.environ, "DAYTWO_STATE": str(state), "DAYTWO_PORTS": "free"}
    told = subprocess.run(
        [sys.executable, "-m", "deploy.local", "status", "--json"], cwd=ROOT, env=env, stdout=subprocess.PIPE, check=False
    )
    return int(next(row["pid"] for row in json.loads(told.stdout) if row["name"] == name))


async def test_kafka_killed_twice_the_windows_are_what_the_log_says(stack: dict[str, Any]) -> None:
    tenants = [f"k-{uuid.uuid4().hex[:8]}" for _ in range(5)]
    writing = asyncio.create_task(write_all(stack["kafka"], random.Random(7), tenants, seconds=14, requests=1500))
    for _ in range(2):
        await asyncio.sleep(4)
        os.kill(await asyncio.to_thread(pid_of, stack["state"], "kafka"), signal.SIGKILL)
    await writing
    left = await settled(stack["kafka"], tenants, "minute")
    assert not left, f"{len(left)} minutes differ: {list(left.items())[:5]}"
