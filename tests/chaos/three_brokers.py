"""The same system on a Kafka of three brokers: every topic on all of them, a write acknowledged by two at least."""

from __future__ import annotations

import base64
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from deploy.local import broker
from deploy.local.errors import SetupError
from deploy.local.machine import run
from deploy.local.ports import free_port
from deploy.local.programs import Program
from tests.chaos.site import Site

BROKERS = ("kafka", "kafka-2", "kafka-3")
SETTINGS = {
    **broker.SETTINGS,
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
    "share.coordinator.state.topic.replication.factor": "3",
    "share.coordinator.state.topic.min.isr": "2",
}
HEAP = "-Xmx320m"


class ThreeBrokers(Site):
    """Only the provider is behind its proxy; `where["kafka"]` names all brokers."""

    def adapted(self, everything: list[Program], ports: Mapping[str, int]) -> list[Program]:
        at = [ports["kafka"], free_port(), free_port()]
        self.links["mock-provider"].target_port = ports["mock-provider"]
        self.bootstrap = ",".join(f"127.0.0.1:{port}" for port in at)
        commands = self._brokers(at, [free_port() for _ in BROKERS])
        first = next(program for program in everything if program.name == "kafka")
        nodes = [replace(first, name=name, command=commands[name], port=port) for name, port in zip(BROKERS, at, strict=True)]
        rest = [self._adapted(program, {"DAYTWO_KAFKA": self.bootstrap}) for program in everything if program is not first]
        return [*nodes, *rest]

    def _brokers(self, ports: list[int], controllers: list[int]) -> dict[str, tuple[str, ...]]:
        """Writes the settings of each, formats its storage, and returns the commands that run them."""
        jars = broker.jars_folder(self.settings.cache)
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in enumerate(controllers, 1))
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22].replace("-", "A")
        commands = {}
        for node, name in enumerate(BROKERS, 1):
            folder = self.settings.state / f"broker-{node}"
            addresses = _addresses(folder, node, ports[node - 1], controllers[node - 1], voters)
            file = _written(folder, {**SETTINGS, **addresses})
            formatted = run(broker.java(jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(file)))
            if formatted.returncode:
                raise SetupError(f"Kafka could not format {folder}: {formatted.stdout}")
            commands[name] = tuple(word if word != "-Xmx512m" else HEAP for word in broker.java(jars, "kafka.Kafka", str(file)))
        return commands


def _addresses(folder: Path, node: int, port: int, controller: int, voters: str) -> dict[str, str]:
    return {
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(folder / "data"),
    }


def _written(folder: Path, settings: Mapping[str, str]) -> Path:
    folder.mkdir(parents=True)
    file = folder / "server.properties"
    file.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    return file
