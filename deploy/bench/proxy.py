"""LiteLLM's proxy before the same mock provider, in a virtual environment of its own.

`litellm.lock` is the output of `echo 'litellm[proxy]==VERSION' | uv pip compile -` with the options of `make lock`.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from deploy.bench.plan import Plan
from deploy.bench.progress import say
from deploy.bench.quantiles import quantiles
from deploy.bench.questions import requests
from deploy.bench.stack import ROOT

LOCK = Path(__file__).with_name("litellm.lock")
VENV = ROOT / ".venv-litellm"
AT_ONCE = 20
START_S = 120.0
_NO_KEY = {"LITELLM_DANGEROUSLY_PERMIT_WEAK_OR_UNSET_MASTER_KEY": "true"}
"""Without a key to check it is faster, and it listens on this machine only."""


class SkippedError(Exception):
    """LiteLLM cannot be measured here; the message says why."""


def version() -> str:
    found = re.search(r"^litellm==(\S+)", LOCK.read_text(), re.MULTILINE)
    return found[1] if found else "unknown"


def measure(provider_url: str, state: Path, plan: Plan) -> dict[str, Any]:
    """Requests a second and latency, at 20 at once and one by one. Raises SkippedError."""
    install()
    try:
        direct = asyncio.run(_load(f"{provider_url}/chat/completions", AT_ONCE, plan))
        with _running(provider_url, state) as url:
            say(f"LiteLLM proxy {version()}, {AT_ONCE} at once, then one by one")
            many = asyncio.run(_load(url, AT_ONCE, plan))
            single = asyncio.run(_load(url, 1, plan))
    except (aiohttp.ClientError, TimeoutError) as error:
        raise SkippedError(f"it stopped answering: {error!r}") from error
    say(f"  {many['per_s']} requests/s at {AT_ONCE}, {single['per_s']} one by one")
    return {"version": version(), "at_once": AT_ONCE, "many": many, "single": single, "provider_alone": direct}


def install() -> None:
    """Brings the environment up to the lock. Raises SkippedError."""
    stamp = VENV / "daytwo-lock"
    if stamp.exists() and stamp.read_text() == LOCK.read_text():
        return
    say(f"installing LiteLLM {version()} into {VENV.name}")
    pip = [str(VENV / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps", "--quiet"]
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=True, capture_output=True, text=True)
        subprocess.run([*pip, "--require-hashes", "-r", str(LOCK)], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        output = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
        raise SkippedError(f"it could not be installed: {output[-1] if output else error}") from error
    stamp.write_text(LOCK.read_text())


@contextmanager
def _running(provider_url: str, state: Path) -> Iterator[str]:
    """The proxy with one worker, as it comes; yields the address of its chat API."""
    config = state / "litellm.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: bench\n"
        "    litellm_params: {model: openai/mock, api_key: none, api_base: " + f'"{provider_url}"' + "}\n"
        "litellm_settings: {telemetry: false}\n"
    )
    port = _free_port()
    # It would fetch its price list at the start.
    env = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "DO_NOT_TRACK": "1", **_NO_KEY}
    command = [str(VENV / "bin" / "litellm"), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    log = state / "logs" / "litellm.log"
    with log.open("wb") as output, subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT) as process:
        try:
            _wait(f"http://127.0.0.1:{port}/health/liveliness", process, log)
            yield f"http://127.0.0.1:{port}/v1/chat/completions"
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    late = time.monotonic() + START_S
    while time.monotonic() < late and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own http address
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise SkippedError(f"it does not start: its log is {log}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _load(url: str, at_once: int, plan: Plan) -> dict[str, Any]:
    """The same questions over HTTP, so many at once."""
    bodies = [_body(request.messages, request.max_tokens) for request in islice(requests("uncached", "http"), 2000)]
    begins = time.perf_counter() + plan.warm_s
    ends = begins + plan.proxy_s
    latencies: list[float] = []
    failed = 0

    async def ask(session: aiohttp.ClientSession, place: int) -> None:
        nonlocal failed
        while (start := time.perf_counter()) < ends:
            async with session.post(url, data=bodies[place % len(bodies)], headers={"Content-Type": "application/json"}) as answer:
                await answer.read()
            place += at_once
            if start >= begins:
                failed += answer.status != 200
                latencies.append((time.perf_counter() - start) * 1000)

    connector = aiohttp.TCPConnector(limit=at_once)
    headers = {"Authorization": "Bearer none"}
    async with aiohttp.ClientSession(connector=connector, headers=headers, timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(ask(session, place) for place in range(at_once)))
    if failed == len(latencies):
        raise SkippedError(f"every request to {url} failed")
    return {"per_s": round((len(latencies) - failed) / plan.proxy_s, 1), **quantiles(latencies), "failed": failed}


def _body(messages: Any, max_tokens: int) -> bytes:
    chat = [{"role": message.role, "content": message.content} for message in messages]
    return orjson.dumps({"model": "bench", "messages": chat, "max_tokens": max_tokens})
