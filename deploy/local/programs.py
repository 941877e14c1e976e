"""The table of what runs: each program with its command, its environment and how it shows that it is ready."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from deploy.local import broker
from deploy.local.errors import SetupError
from deploy.local.readiness import Probe, accepts, healthy, kafka_answers, redis_answers
from deploy.local.settings import SERVICES, Settings

TOPICS = "topics"
"""A step, not a program: it is named in `--only` like one."""

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
"""Every service has its own process; a thread pool of each numeric library in each of them only fights for the cores."""

OFFLINE = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}


PART_PROBES: Mapping[str, Probe] = {
    "kafka": kafka_answers,
    "ledger-redis": redis_answers,
    "cache-redis": redis_answers,
    "milvus": accepts,
    "model": healthy,
    "mock-provider": healthy,
    "registry": healthy,
}
"""The parts, in the order in which they start, and how each shows that it is ready. A service has /health."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised process. `family` is what its replicas share; a part is its own family."""

    name: str
    family: str
    kind: Literal["part", "service"]
    command: tuple[str, ...]
    port: int
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def probe(self) -> Probe:
        return PART_PROBES.get(self.family, healthy)

    @property
    def http(self) -> str | None:
        """Where /health and /metrics are, for programs of ours."""
        return f"http://127.0.0.1:{self.port}" if self.probe is healthy else None


def service_names(settings: Settings) -> list[tuple[str, int, int]]:
    """(name, place on the road, replica) of every service process."""
    if settings.one_process:
        return [("services", 0, 0)]
    return [
        (f"{_family(module)}-{replica}", place, replica)
        for place, module in enumerate(SERVICES)
        for replica in range(settings.replicas[module])
    ]


def addresses(ports: Mapping[str, int]) -> dict[str, str]:
    """Where the parts are: the settings that a service gets, the same in docker-compose.yml."""
    return {
        "DAYTWO_KAFKA": f"127.0.0.1:{ports['kafka']}",
        "DAYTWO_REGISTRY": f"http://127.0.0.1:{ports['registry']}",
        "DAYTWO_LEDGER_REDIS": f"redis://127.0.0.1:{ports['ledger-redis']}/0",
        "DAYTWO_CACHE_REDIS": f"redis://127.0.0.1:{ports['cache-redis']}/0",
        "DAYTWO_MILVUS": f"http://127.0.0.1:{ports['milvus']}",
    }


def all_programs(settings: Settings, ports: Mapping[str, int]) -> list[Program]:
    """Everything this machine would run, in the order in which it starts."""
    return [*_parts(settings, ports), *_services(settings, ports)]


def selected(programs: list[Program], only: frozenset[str]) -> list[Program]:
    """Those that `--only` names, by name or family; all for an empty one. Raises SetupError for an unknown name."""
    wanted = {name.replace("_", "-") for name in only}
    known = {program.name for program in programs} | {program.family for program in programs} | {TOPICS}
    if unknown := sorted(wanted - known):
        raise SetupError(f"--only names {', '.join(unknown)}, which is none of: {', '.join(sorted(known))}")
    return [program for program in programs if not wanted or {program.name, program.family} & wanted]


def _parts(settings: Settings, ports: Mapping[str, int]) -> Iterator[Program]:
    for name, command in _part_commands(settings, ports).items():
        port = ports[name]
        ours = {**addresses(ports), **OFFLINE, "DAYTWO_HTTP_PORT": str(port)} if PART_PROBES[name] is healthy else {}
        env = {**ours, "DAYTWO_INSTANCE": name, "DAYTWO_STATE": str(settings.state)}
        yield Program(name=name, family=name, kind="part", command=command, port=port, env=env)


def _part_commands(settings: Settings, ports: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    state, python = settings.state, str(settings.python)
    kafka = broker.java(broker.jars_folder(settings.cache), "kafka.Kafka", str(state / "kafka" / "server.properties"))
    milvus = str(settings.python.with_name("milvus-lite"))
    milvus_at = ("--data-dir", str(state / "milvus"), "--host", "127.0.0.1", "--port", str(ports["milvus"]))
    return {
        "kafka": tuple(kafka),
        "ledger-redis": ("redis-server", str(state / "ledger-redis" / "redis.conf")),
        "cache-redis": ("redis-server", str(state / "cache-redis" / "redis.conf")),
        "milvus": (milvus, "server", *milvus_at),
        "model": (python, "-m", "services.local_model"),
        "mock-provider": (python, "-m", "services.mock_provider"),
        "registry": (python, "-m", "daytwo.registry"),
    }


def _services(settings: Settings, ports: Mapping[str, int]) -> Iterator[Program]:
    modules = {_family(module): module for module in SERVICES}
    for name, _, _ in service_names(settings):
        family = name if settings.one_process else name.rpartition("-")[0]
        module = "services" if settings.one_process else f"services.{modules[family]}"
        own = {"DAYTWO_HTTP_PORT": str(ports[name]), "DAYTWO_INSTANCE": name, "DAYTWO_STATE": str(settings.state)}
        yield Program(
            name=name,
            family=family,
            kind="service",
            command=(str(settings.python), "-m", module),
            port=ports[name],
            env={**addresses(ports), **own, **ONE_THREAD, **OFFLINE},
        )


def _family(module: str) -> str:
    return module.replace("_", "-")


def ledger_redis_conf(folder: Path, port: int) -> str:
    """Money: every answer is on disk before it is given, and nothing is ever evicted."""
    return _redis_conf(folder, port, "appendonly yes", "appendfsync always", "maxmemory-policy noeviction")


def cache_redis_conf(folder: Path, port: int) -> str:
    """Answers: rebuilt from their topic, so nothing is written to disk, and the least used ones make room."""
    return _redis_conf(folder, port, "appendonly no", "maxmemory 256mb", "maxmemory-policy allkeys-lru")


def _redis_conf(folder: Path, port: int, *settings: str) -> str:
    shared = ("bind 127.0.0.1", f"port {port}", f'dir "{folder}"', "daemonize no", 'save ""')
    return "\n".join((*shared, *settings)) + "\n"
