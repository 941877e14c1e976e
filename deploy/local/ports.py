"""Which port each program listens on: the defaults, moved by settings, or free ones that are then kept."""

from __future__ import annotations

import json
import random
import socket
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from deploy.local.errors import SetupError

DEFAULTS = {
    "kafka": 9092,
    "kafka-controller": 9093,
    "registry": 8081,
    "ledger-redis": 6390,
    "cache-redis": 6391,
    "milvus": 19530,
    "model": 8090,
    "mock-provider": 8091,
}

SERVICES_FROM = 9101
"""The first service's port. Further services count up by one, further replicas of a service by ten."""

FREE_RANGE = range(20_000, 30_000)
"""Below the range from which the kernel takes ports for outgoing connections: a restarted program finds its port free."""

IsFree = Callable[[int], bool]
"""Whether a program could listen on this port of 127.0.0.1 now."""


def variable(name: str) -> str:
    """The setting that moves the port of `name`."""
    return "DAYTWO_PORT_" + (name if name in DEFAULTS else "services").upper().replace("-", "_")


def free_port() -> int:
    """One that nobody listens on, chosen by the kernel."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are still closing counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def chosen_ports(service_names: Iterable[tuple[str, int, int]], env: Mapping[str, str]) -> dict[str, int]:
    """Port by program. A service is (name, its place on the road, its replica), both from 0."""
    offset = _number(env, "DAYTWO_PORT_OFFSET", 0)
    ports = {name: _number(env, variable(name), default + offset) for name, default in DEFAULTS.items()}
    first = _number(env, "DAYTWO_PORT_SERVICES", SERVICES_FROM + offset)
    ports |= {name: first + place + 10 * replica for name, place, replica in service_names}
    _check_range(ports)
    return ports


def free_ports(names: Iterable[str], kept: Mapping[str, int], is_free: IsFree, rng: random.Random) -> dict[str, int]:
    """Keeps what `kept` names while it is free, so that clients find a restarted stack; picks the others at random."""
    ports: dict[str, int] = {}
    for name in names:
        port = kept.get(name, 0)
        while port in ports.values() or port not in FREE_RANGE or not is_free(port):
            port = rng.choice(FREE_RANGE)
        ports[name] = port
    return ports


def check_free(ports: Mapping[str, int], is_free: IsFree) -> None:
    """Raises SetupError for the first port that something else holds."""
    for name, port in ports.items():
        if not is_free(port):
            raise SetupError(
                f"port {port} is taken, and {name} needs it: set {variable(name)} to another port, "
                "or DAYTWO_PORT_OFFSET=1000 to move all of them"
            )


def read_ports(file: Path) -> dict[str, int]:
    """The ports that were written down at the last start, or none."""
    return {str(name): int(port) for name, port in json.loads(file.read_text()).items()} if file.exists() else {}


def _number(env: Mapping[str, str], name: str, default: int) -> int:
    value = env.get(name, "") or str(default)
    if not value.lstrip("-").isdecimal():
        raise SetupError(f"{name}={value} is not a number")
    return int(value)


def _check_range(ports: Mapping[str, int]) -> None:
    owner: dict[int, str] = {}
    for name, port in ports.items():
        if not 1024 <= port <= 65535:
            raise SetupError(f"{name} would get port {port}, which is not within 1024..65535: change {variable(name)}")
        if port in owner:
            raise SetupError(f"{owner[port]} and {name} would both get port {port}: change {variable(name)}")
        owner[port] = name
