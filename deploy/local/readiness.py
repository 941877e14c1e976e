"""Whether a program answers as its clients need it. Each probe takes a port of 127.0.0.1, waits 2 s at most, never raises."""

from __future__ import annotations

import asyncio
import socket
import urllib.error
import urllib.request
from collections.abc import Callable

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import KafkaError

TIMEOUT_S = 2.0

Probe = Callable[[int], bool]


def kafka_answers(port: int) -> bool:
    """A broker is registered: its socket opens earlier, when topics cannot be created yet."""
    try:
        return asyncio.run(asyncio.wait_for(_has_broker(port), TIMEOUT_S))
    except (KafkaError, OSError, TimeoutError):
        return False


async def _has_broker(port: int) -> bool:
    if not accepts(port):
        return False
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
    try:
        await admin.start()
        return bool((await admin.describe_cluster())["brokers"])
    finally:
        await admin.close()


def redis_answers(port: int) -> bool:
    """PONG: while it still loads its file it answers LOADING."""
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def accepts(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), TIMEOUT_S):
            return True
    except OSError:
        return False


def healthy(port: int) -> bool:
    """`GET /health` says 200."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=TIMEOUT_S) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError, ValueError):
        return False
