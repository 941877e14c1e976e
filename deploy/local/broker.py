"""Apache Kafka without containers: jars from Maven, one node that is broker and controller."""

from __future__ import annotations

import base64
import hashlib
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from deploy.local.errors import SetupError
from deploy.local.machine import Run

POM_FOLDER = Path(__file__).parent / "kafka"

MEMORY = ("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
QUIET = ("-XX:-UsePerfData", "-Xshare:auto", "-Djava.awt.headless=true")

SETTINGS = {
    "node.id": "1",
    "process.roles": "broker,controller",
    "controller.listener.names": "CONTROLLER",
    # Topics are declared in schemas/: one that is not declared is a mistake.
    "auto.create.topics.enable": "false",
    # A test or a laptop has all members of a group at once; waiting for more costs 3 s a start.
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may register again only when its session has ended: by default 9 s.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "1000",
    "message.max.bytes": str(2 * 1024**2),
    # The defaults, 3 and 8, are for a machine of its own; here they only take turns on two cores.
    "num.network.threads": "1",
    "num.io.threads": "2",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Small numbers for one machine: each partition costs index files and memory, the cleaner's default buffer 128 MB.
    "offsets.topic.num.partitions": "10",
    "transaction.state.log.num.partitions": "10",
    "share.coordinator.state.topic.num.partitions": "10",
    "log.cleaner.dedupe.buffer.size": str(16 * 1024**2),
}


def jars_folder(cache: Path) -> Path:
    """Named by the pom's content: another version gets another folder, and old states share what they know."""
    return cache / f"kafka-{hashlib.sha256((POM_FOLDER / 'pom.xml').read_bytes()).hexdigest()[:12]}"


def fetch_jars(cache: Path, run: Run) -> Path:
    """Fetches 45 jars (43 MB) unless they are there. Raises SetupError with Maven's first error."""
    folder = jars_folder(cache)
    if folder.exists():
        return folder
    partial = folder.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pom = str(POM_FOLDER / "pom.xml")
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={partial}"]
    result = run(["mvn", "--batch-mode", "--quiet", "--file", pom, *copy])
    if result.returncode:
        reason = next((line for line in result.stdout.splitlines() if "ERROR" in line), "no reason given")
        raise SetupError(f"Maven could not fetch Kafka: {reason}")
    partial.rename(folder)
    return folder


def server_properties(data: Path, port: int, controller_port: int) -> str:
    """The broker's settings file. A static quorum, so that another controller port needs no new format."""
    addresses = {
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "log.dirs": str(data),
    }
    return "".join(f"{key}={value}\n" for key, value in {**SETTINGS, **addresses}.items())


def format_storage(folder: Path, jars: Path, run: Run) -> None:
    """Gives an empty data folder its cluster id, once. Raises SetupError when Kafka refuses."""
    if (folder / "data" / "meta.properties").exists():
        return
    # Kafka writes ids as 22 letters of URL-safe base64 and refuses a leading dash.
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[:22].replace("-", "A", 1)
    command = java(jars, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", str(folder / "server.properties"))
    result = run(command)
    if result.returncode:
        last = result.stdout.strip().splitlines()[-1:] or ["no output"]
        raise SetupError(f"Kafka could not format {folder}: {last[0]}")


def java(jars: Path, main: str, *arguments: str) -> list[str]:
    """A command line that runs `main` from the jars."""
    return ["java", *MEMORY, *QUIET, "-cp", f"{POM_FOLDER}:{jars}/*", main, *arguments]


def prepare(folder: Path, jars: Path, ports: Mapping[str, int], run: Run) -> None:
    """Writes the settings and formats the storage below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    properties = server_properties(folder / "data", ports["kafka"], ports["kafka-controller"])
    (folder / "server.properties").write_text(properties)
    format_storage(folder, jars, run)
