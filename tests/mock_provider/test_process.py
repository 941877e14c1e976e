"""The mock provider as a process: what it does on its command line, on signals, and after kill -9."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "services.mock_provider"]


def a_free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


@contextmanager
def running(port: int, **environment: str) -> Iterator["subprocess.Popen[str]"]:
    variables = {**os.environ, "DAYTWO_HTTP_PORT": str(port), **environment}
    with subprocess.Popen(COMMAND, cwd=ROOT, env=variables, stderr=subprocess.PIPE, text=True) as process:
        try:
            wait_until_healthy(port)
            yield process
        finally:
            process.kill()


def wait_until_healthy(port: int) -> None:
    for _ in range(200):
        try:
            get(port, "/health")
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("the mock provider did not start within 10 s")


def get(port: int, path: str, body: object = None) -> Any:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        return json.loads(connection.getresponse().read())
    finally:
        connection.close()


def test_a_bill_in_a_file_survives_kill_9_and_sigterm_ends_cleanly(tmp_path: Path) -> None:
    port, file = a_free_port(), str(tmp_path / "bill.jsonl")
    question = {"model": "mock", "messages": [{"role": "user", "content": "Why?"}]}
    with running(port, DAYTWO_BILL_FILE=file) as process:
        get(port, "/v1/chat/completions", question)
        before = get(port, "/bill")
        process.kill()
    with running(port, DAYTWO_BILL_FILE=file) as process:
        assert get(port, "/bill") == before
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=5) == 0
    assert before["totals"]["calls"] == 1


def test_a_taken_port_and_a_setting_that_makes_no_sense_are_one_line_and_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments, named in ((["--port", port], port), (["--latency-ms", "fast"], "latency-ms")):
            ended = subprocess.run([*COMMAND, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=20)
            assert ended.returncode == 1
            assert len(ended.stderr.splitlines()) == 1
            assert named in ended.stderr
