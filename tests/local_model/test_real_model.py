"""The real model, really asked: some five seconds on two cores."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.stack

ROOT = Path(__file__).parents[2]


class Model:
    """A local model in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int) -> None:
        self.process = process
        self._port = port

    def get(self, path: str, body: object = None) -> tuple[int, Any]:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            headers = {"x-daytwo-attempt": "a1", "Content-Type": "application/json"}
            connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body), headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()

    def ask(self, *texts: str, **fields: object) -> tuple[int, Any]:
        messages = [{"role": "user", "content": text} for text in texts]
        request = {"model": "any", "messages": messages, "max_tokens": 16, "temperature": 0, **fields}
        return self.get("/v1/chat/completions", request)


@pytest.fixture(scope="module")
def model() -> Iterator[Model]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, "DAYTWO_HTTP_PORT": str(port)}
    command = [sys.executable, "-m", "services.local_model"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL) as process:
        running = Model(process, port)
        try:
            wait_until_healthy(running)
            yield running
        finally:
            process.kill()


def wait_until_healthy(model: Model) -> None:
    for _ in range(600):
        try:
            if model.get("/health")[0] == 200:
                return
        except ConnectionRefusedError:
            pass
        time.sleep(0.05)
    raise AssertionError("the model did not start within 30 s")


def test_it_knows_the_capital_of_france(model: Model) -> None:
    status, answer = model.ask("What is the capital of France?", a_field_nobody_knows={"x": 1})
    assert status == 200
    assert "Paris" in answer["choices"][0]["message"]["content"]
    assert answer["model"] == "smollm2-135m-instruct"


@pytest.mark.parametrize("texts", [("Hi",), ("",), ("a", "b", "c"), ("Grüße 🙂",)])
def test_a_prompt_never_has_more_tokens_than_daytwo_reserves_for(model: Model, texts: tuple[str, ...]) -> None:
    status, answer = model.ask(*texts, max_tokens=1)
    assert status == 200
    assert answer["usage"]["prompt_tokens"] <= sum(len(text.encode()) + 16 for text in texts)


def test_a_message_without_text_is_tolerated(model: Model) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "42"},
    ]
    assert model.get("/v1/chat/completions", {"model": "any", "messages": messages, "max_tokens": 1})[0] == 200


def test_a_prompt_longer_than_a_slot_is_refused_and_never_cut(model: Model) -> None:
    status, answer = model.ask("word " * 3000)
    assert status == 400
    assert answer["error"]["type"] == "exceed_context_size_error"


def test_sigterm_ends_it_at_once_though_it_is_answering(model: Model) -> None:
    def ask_and_be_cut_off() -> None:
        with pytest.raises((ConnectionError, OSError, json.JSONDecodeError)):
            model.ask("Tell a very long story.", max_tokens=1500)

    asking = threading.Thread(target=ask_and_be_cut_off)
    asking.start()
    time.sleep(0.5)
    model.process.send_signal(signal.SIGTERM)
    assert model.process.wait(timeout=5) == 0
    asking.join(timeout=5)
