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


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised process. `family` is what its replicas share; a part is its own family."""

    name: str
    family: str
    kind: Literal["part", "service"]
    command: tuple[str, ...]
    port: int
    probe: Probe
    env: Mapping[str, str] = field(default_factory=dict)

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
    state, python = settings.state, str(settings.python)

    def part(name: str, probe: Probe, *command: str, env: Mapping[str, str] | None = None) -> Program:
        where = {**addresses(ports), "DAYTWO_HTTP_PORT": str(ports[name])} if probe is healthy else {}
        return Program(
            name=name,
            family=name,
            kind="part",
            command=command,
            port=ports[name],
            probe=probe,
            env={**where, **(env or {}), "DAYTWO_INSTANCE": name, "DAYTWO_STATE": str(state)},
        )

    jars = broker.jars_folder(settings.cache)
    milvus = str(settings.python.with_name("milvus-lite"))
    milvus_at = ("--data-dir", str(state / "milvus"), "--host", "127.0.0.1", "--port", str(ports["milvus"]))
    yield part("kafka", kafka_answers, *broker.java(jars, "kafka.Kafka", str(state / "kafka" / "server.properties")))
    yield part("ledger-redis", redis_answers, "redis-server", str(state / "ledger-redis" / "redis.conf"))
    yield part("cache-redis", redis_answers, "redis-server", str(state / "cache-redis" / "redis.conf"))
    yield part("milvus", accepts, milvus, "server", *milvus_at)
    yield part("model", healthy, python, "-m", "services.local_model", env=OFFLINE)
    yield part("mock-provider", healthy, python, "-m", "services.mock_provider", env=OFFLINE)
    yield part("registry", healthy, python, "-m", "daytwo.registry", env=OFFLINE)


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
            probe=healthy,
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
