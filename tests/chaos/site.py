"""The system under fault: `deploy/local` with a proxy between our services and each part, and Kafka on a small disk of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from deploy.local import programs, stack
from deploy.local.ports import free_port
from deploy.local.programs import Program
from deploy.local.progress import Steps
from deploy.local.settings import Settings, read_settings
from deploy.local.supervision import Supervisor
from tests.chaos.plan import LINKS, SERVICES, SPARES
from tests.chaos.proxy import Link
from tests.stack import ROOT

REPLICAS = "ingest=2,cost_meter=3,embedder=2,cache=2,inference_router=3"
PROVIDER_LATENCY = '{"median": 120, "p99": 400}'
KAFKA_DISK_MB = 768


@dataclass(kw_only=True)
class Site:
    """What runs, and how to do it harm. Process ids are supervisord's."""

    settings: Settings
    links: Mapping[str, Link]
    disk: Path | None
    """Kafka's own file system; None where none could be mounted."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """What stack.json says."""
    bootstrap: str = ""
    """Kafka's addresses, where there are several."""

    @property
    def provider(self) -> str:
        """Where deployments are called: through the proxy."""
        return f"http://127.0.0.1:{self.links['mock-provider'].port}/v1"

    @property
    def sabotage_file(self) -> Path:
        return self.settings.state / "sabotage"

    def adapted(self, everything: list[Program], ports: Mapping[str, int]) -> list[Program]:
        """Every address of a part that a service gets is that of its proxy; Kafka gets a listener that says so, too."""
        behind = free_port()
        for name, link in self.links.items():
            link.target_port = behind if name == "kafka" else ports[name]
        addresses = programs.addresses({**ports, **{name: link.port for name, link in self.links.items()}})
        overrides = _listeners(ports["kafka"], ports["kafka-controller"], behind, self.links["kafka"].port)
        return [
            replace(program, command=(*program.command, *overrides)) if program.name == "kafka" else self._adapted(program, addresses)
            for program in everything
        ]

    def _adapted(self, program: Program, addresses: Mapping[str, str]) -> Program:
        """The provider keeps its bill and takes its time; services run through the wrapper of this package."""
        if program.name == "mock-provider":
            own = ("--bill-file", str(self.settings.state / "bill"), "--latency-ms", PROVIDER_LATENCY)
            return replace(program, command=(*program.command, *own))
        if program.kind == "service":
            command = (str(self.settings.python), "-m", "tests.chaos.service", program.family.replace("-", "_"))
            return replace(program, command=command, env={**program.env, **addresses})
        return program

    def pids(self) -> dict[str, int]:
        return {name: info["pid"] for name, info in Supervisor(self.settings).states().items() if info["pid"]}

    async def signal(self, names: Iterable[str], number: signal.Signals) -> None:
        """To each at once, as far as it runs."""
        pids = await asyncio.to_thread(self.pids)
        for name in names:
            with suppress(ProcessLookupError):
                if name in pids:
                    os.kill(pids[name], number)

    async def start(self, name: str) -> None:
        await asyncio.to_thread(Supervisor(self.settings).start_program, name)

    async def stop(self, name: str) -> None:
        await asyncio.to_thread(Supervisor(self.settings).stop_program, name)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The `daytwo` command against this system."""
        env = {**os.environ, "DAYTWO_STATE": str(self.settings.state), "DAYTWO_KAFKA": self.where["kafka"]}
        command = [sys.executable, "-m", "daytwo.cli", *arguments]
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@asynccontextmanager
async def site(state: Path, sabotage: str = "", kind: type[Site] = Site, services: Sequence[str] = SERVICES) -> AsyncIterator[Site]:
    """Starts from an empty state; its logs stay. `sabotage`: a key of SABOTAGES, or none. Raises SetupError."""
    only = ",".join(("kafka", "topics", "ledger-redis", "cache-redis", "milvus", "mock-provider", *services))
    env = {**os.environ, "DAYTWO_STATE": str(state), "DAYTWO_PORTS": "free", "DAYTWO_REPLICAS": REPLICAS}
    settings = read_settings(env, ROOT, Path(sys.executable), only)
    disk = settings.state / "kafka" / "data"
    await asyncio.to_thread(_cleared, settings, disk)
    links = {name: Link() for name in LINKS}
    made = kind(settings=settings, links=links, disk=disk if _mounted(disk) else None)
    if sabotage:
        made.sabotage_file.write_text(sabotage)
    try:
        for link in links.values():
            await link.start()
        where = await asyncio.to_thread(stack.up, settings, env, Steps(stack.UP_STEPS), made.adapted)
        made.where = {**where, "kafka": made.bootstrap or where["kafka"]}
        yield made
    finally:
        await made.signal((*SERVICES, *SPARES), signal.SIGCONT)
        await asyncio.to_thread(_ended, settings, disk)
        for link in links.values():
            await link.stop()


def _cleared(settings: Settings, disk: Path) -> None:
    _ended(settings, disk)
    stack.clean(settings)
    settings.state.mkdir(parents=True)
    (settings.state / "ports.json").write_text("{}")  # says whose folder it is, should the start fail


def _ended(settings: Settings, disk: Path) -> None:
    stack.down(settings)
    if disk.is_mount():
        subprocess.run(["umount", str(disk)], check=True)


def _listeners(direct: int, controller: int, behind: int, proxy: int) -> list[str]:
    """Arguments for Kafka: whoever comes through the proxy is told to stay there."""
    settings = {
        "listeners": f"PLAINTEXT://127.0.0.1:{direct},SERVICES://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{direct},SERVICES://127.0.0.1:{proxy}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SERVICES:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    return [word for key, value in settings.items() for word in ("--override", f"{key}={value}")]


def _mounted(disk: Path) -> bool:
    """Makes a small file system in memory where Kafka's log will be; needs root."""
    disk.mkdir(parents=True)
    options = ["-t", "tmpfs", "-o", f"size={KAFKA_DISK_MB}m"]
    return subprocess.run(["mount", *options, "daytwo-chaos", str(disk)], capture_output=True, check=False).returncode == 0
