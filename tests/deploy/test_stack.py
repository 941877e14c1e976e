"""The local stack with real Kafka and Redis: its start, its restart, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.readiness import kafka_answers, redis_answers
from tests.stack import ROOT, running_stack

pytestmark = pytest.mark.stack

PARTS = "kafka,ledger-redis"


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def parts(state: Path) -> Iterator[dict[str, Any]]:
    state.rmdir()
    with running_stack(only=PARTS, state=state) as stack:
        yield stack


def deploy(state: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    settings = {**os.environ, "DAYTWO_STATE": str(state), "DAYTWO_PORTS": "free", **env}
    command = [sys.executable, "-m", "deploy.local", *arguments]
    return subprocess.run(command, cwd=ROOT, env=settings, capture_output=True, text=True, check=False)


def pids(state: Path) -> dict[str, int]:
    rows = json.loads(deploy(state, "status", "--json").stdout)
    return {row["name"]: row["pid"] for row in rows if row["pid"]}


def port_of(address: str) -> int:
    return int(address.removesuffix("/0").rpartition(":")[2])


def test_what_it_names_answers(parts: dict[str, Any]) -> None:
    assert kafka_answers(port_of(parts["kafka"]))
    assert redis_answers(port_of(parts["ledger_redis"]))
    assert [program["name"] for program in parts["programs"]] == ["kafka", "ledger-redis"]


def test_starting_it_again_changes_nothing(parts: dict[str, Any], state: Path) -> None:
    before = pids(state)

    again = deploy(state, "up", "--only", PARTS)

    assert again.returncode == 0, again.stderr
    assert pids(state) == before
    assert json.loads((state / "stack.json").read_text()) == parts


def test_a_part_that_is_killed_comes_back(parts: dict[str, Any], state: Path) -> None:
    killed = pids(state)["ledger-redis"]

    os.kill(killed, signal.SIGKILL)

    deadline = time.monotonic() + 10
    while not redis_answers(port_of(parts["ledger_redis"])) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert pids(state)["ledger-redis"] != killed


def test_a_taken_port_is_one_line_that_names_the_setting(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = str(other.getsockname()[1])

        refused = deploy(tmp_path, "up", "--only", "ledger-redis", DAYTWO_PORTS="", DAYTWO_PORT_LEDGER_REDIS=port)

    assert refused.returncode == 2
    last = refused.stderr.splitlines()[-1]
    assert last.startswith(f"daytwo: port {port} is taken, and ledger-redis needs it: set DAYTWO_PORT_LEDGER_REDIS")


def test_clean_refuses_a_folder_that_holds_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").touch()

    assert deploy(tmp_path, "clean").returncode == 2
    assert (tmp_path / "thesis.txt").exists()


def test_nothing_outlives_a_killed_supervisor_for_long(tmp_path: Path) -> None:
    state = tmp_path / "state"
    assert deploy(state, "up", "--only", "ledger-redis").returncode == 0
    port = json.loads((state / "ports.json").read_text())["ledger-redis"]
    os.kill(int((state / "supervisord.pid").read_text()), signal.SIGKILL)
    assert redis_answers(port)

    assert deploy(state, "clean").returncode == 0

    assert not redis_answers(port)
    assert not state.exists()
