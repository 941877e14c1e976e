"""Starting, stopping and describing the whole: what `make up`, `down`, `status` and `clean` do."""

from __future__ import annotations

import json
import random
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.local import broker, machine, ports, programs
from deploy.local.errors import SetupError
from deploy.local.machine import Machine
from deploy.local.programs import PART_PROBES, TOPICS, Program
from deploy.local.progress import Steps
from deploy.local.readiness import healthy
from deploy.local.settings import SERVICES, Settings
from deploy.local.supervision import Supervisor, end_orphans, render

INSTALL_STEPS = 2
UP_STEPS = INSTALL_STEPS + 4

READY_WAIT_S = 120.0
STILL_WAITING_S = 10.0
POLL_S = 0.1
LEAST_DISK_BYTES = 512 * 1024**2


def install(settings: Settings, steps: Steps) -> None:
    """Brings what Python packages cannot: Java and Kafka, Maven to fetch it, Redis. Raises SetupError."""
    steps.begin("Java, Maven and Redis")
    host = Machine(steps)
    only = settings.only
    needs_kafka = not only or "kafka" in only
    needs_redis = not only or bool(only & {"ledger-redis", "cache-redis"})
    fetches = needs_kafka and not broker.jars_folder(settings.cache).exists()
    tools = [*[machine.JAVA] * needs_kafka, *[machine.MAVEN] * fetches, *[machine.REDIS] * needs_redis]
    host.ensure(tools)
    if sys.platform == "linux" and (not only or "model" in only):
        host.ensure_library("libgomp.so.1", apt_package="libgomp1", needed_for="the local model")
    steps.begin("Apache Kafka" + (" from Maven, 43 MB, once" if fetches else ""))
    if fetches:
        settings.cache.mkdir(parents=True, exist_ok=True)
        broker.fetch_jars(settings.cache, machine.run)


Adapt = Callable[[list[Program], Mapping[str, int]], list[Program]]
"""The table of programs as it is to run, of the table as it is and the ports: tests put proxies and wrappers between."""


def _as_it_is(everything: list[Program], taken: Mapping[str, int]) -> list[Program]:
    return everything


def up(settings: Settings, env: Mapping[str, str], steps: Steps, adapt: Adapt = _as_it_is) -> dict[str, Any]:
    """Returns what `stack.json` says when everything answers. Run again, it starts only what does not run.

    Raises SetupError.
    """
    install(settings, steps)
    steps.begin(f"Ports and settings, into {settings.state}")
    supervisor = Supervisor(settings)
    if not supervisor.is_running():
        end_orphans(settings.state)
    taken = _decide_ports(settings, env, supervisor)
    everything = adapt(programs.all_programs(settings, taken), taken)
    wanted = programs.selected(everything, settings.only)
    _prepare(settings, taken, wanted)
    supervisor.config_file.write_text(render(settings, everything))
    supervisor.start()
    steps.begin("Parts")
    start_and_wait(supervisor, settings, [program for program in wanted if program.kind == "part"], steps)
    steps.begin("Topics")
    if not settings.only or TOPICS in settings.only:
        _create_topics(settings, taken)
    steps.begin("Services")
    start_and_wait(supervisor, settings, [program for program in wanted if program.kind == "service"], steps)
    alive = supervisor.alive()
    stack = describe(settings, taken, [program for program in everything if program.name in alive])
    settings.stack_file.write_text(json.dumps(stack, indent=2) + "\n")
    return stack


def down(settings: Settings) -> None:
    """Stops everything of this state folder; nothing to stop is fine."""
    Supervisor(settings).stop()
    settings.stack_file.unlink(missing_ok=True)


def clean(settings: Settings) -> None:
    """Stops everything and removes the state folder. Raises SetupError for a folder that is not one."""
    down(settings)
    if not settings.state.exists():
        return
    if not (settings.state / "ports.json").exists():
        raise SetupError(f"{settings.state} does not look like a state folder of daytwo: remove it yourself")
    shutil.rmtree(settings.state)


def status(settings: Settings) -> list[dict[str, Any]]:
    """One row a program: name, kind, pid, state, health, http, seconds since its start. Empty when nothing runs."""
    known = ports.read_ports(settings.state / "ports.json")
    rows = []
    for name, info in Supervisor(settings).states().items():
        probe = PART_PROBES.get(name, healthy)
        runs = info["statename"] == "RUNNING"
        rows.append(
            {
                "name": name,
                "kind": "part" if name in PART_PROBES else "service",
                "pid": info["pid"] or None,
                "state": info["statename"].lower(),
                "health": ("ready" if probe(known[name]) else "not ready") if runs else None,
                "http": f"http://127.0.0.1:{known[name]}" if probe is healthy else None,
                "port": known[name],
                "uptime_s": info["now"] - info["start"] if runs else None,
            }
        )
    return sorted(rows, key=lambda row: _place(row["name"]))


def _place(name: str) -> tuple[int, str]:
    """Sorts programs into the order in which they start."""
    order = [*PART_PROBES, *(module.replace("_", "-") for module in SERVICES)]
    family = name if name in PART_PROBES else name.rpartition("-")[0]
    return (order.index(family) if family in order else len(order), name)


def start_and_wait(supervisor: Supervisor, settings: Settings, wanted: Sequence[Program], steps: Steps) -> None:
    """Starts them side by side and notes each as it answers. Raises SetupError after two minutes without an answer."""
    for program in wanted:
        supervisor.start_program(program.name)
    started = told = time.monotonic()
    waiting = list(wanted)
    while waiting:
        for program in list(waiting):
            if program.probe(program.port):
                steps.note(f"{program.name:<20} ready on {program.port} after {time.monotonic() - started:.1f} s")
                waiting.remove(program)
        now = time.monotonic()
        if waiting and now - started > READY_WAIT_S:
            raise SetupError(_silence(supervisor, settings, waiting[0].name, now - started))
        if waiting and now - told > STILL_WAITING_S:
            told = now
            steps.note(_silence(supervisor, settings, waiting[0].name, now - started))
        time.sleep(POLL_S)


def _silence(supervisor: Supervisor, settings: Settings, name: str, seconds: float) -> str:
    state = supervisor.states().get(name, {}).get("statename", "GONE").lower()
    log = settings.logs / f"{name}.log"
    return f"{name} does not answer after {seconds:.0f} s and is {state}: its log is {log}"


def describe(settings: Settings, taken: Mapping[str, int], running: Sequence[Program]) -> dict[str, Any]:
    """What `stack.json` says: where the parts are, and the programs with their logs."""
    where = programs.addresses(taken)
    return {
        "kafka": where["DAYTWO_KAFKA"],
        "registry": where["DAYTWO_REGISTRY"],
        "ledger_redis": where["DAYTWO_LEDGER_REDIS"],
        "cache_redis": where["DAYTWO_CACHE_REDIS"],
        "milvus": where["DAYTWO_MILVUS"],
        "model": f"http://127.0.0.1:{taken['model']}/v1",
        "mock_provider": f"http://127.0.0.1:{taken['mock-provider']}/v1",
        "supervisor": f"unix://{settings.socket}",
        "programs": [
            {
                "name": program.name,
                "kind": program.kind,
                "http": program.http,
                "log": str(settings.logs / f"{program.name}.log"),
            }
            for program in running
        ],
    }


def _decide_ports(settings: Settings, env: Mapping[str, str], supervisor: Supervisor) -> dict[str, int]:
    """Ports for everything, those of what will start checked to be free. Raises SetupError."""
    written = ports.read_ports(settings.state / "ports.json")
    running = supervisor.alive()
    if "kafka" in running:
        running |= {"kafka-controller"}
    held = {port for name, port in written.items() if name in running}

    def usable(port: int) -> bool:
        return port in held or ports.is_free(port)

    services = programs.service_names(settings)
    if settings.free_ports:
        names = [*ports.DEFAULTS, *(name for name, _, _ in services)]
        taken = ports.free_ports(names, written, usable, random.Random())
    else:
        taken = ports.chosen_ports(services, env)
    for name in sorted(running & taken.keys()):
        if written[name] != taken[name]:
            raise SetupError(f"{name} runs on port {written[name]} already: `make down` first, to move it to {taken[name]}")
    wanted = {program.name for program in programs.selected(programs.all_programs(settings, taken), settings.only)}
    wanted |= {"kafka-controller"} if "kafka" in wanted else set()
    ports.check_free({name: port for name, port in taken.items() if name in wanted}, usable)
    return taken


def _prepare(settings: Settings, taken: Mapping[str, int], wanted: Sequence[Program]) -> None:
    """Lays out the state folder: logs, each part's folder and settings file, the ports."""
    names = {program.name for program in wanted}
    settings.logs.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(settings.state).free
    if free < LEAST_DISK_BYTES:
        raise SetupError(f"the disk of {settings.state} has {free / 1e6:.0f} MB free; the parts need 512 MB: free some space")
    (settings.state / "ports.json").write_text(json.dumps(taken, indent=2) + "\n")
    renders = {"ledger-redis": programs.ledger_redis_conf, "cache-redis": programs.cache_redis_conf}
    for name, render_conf in renders.items():
        folder = settings.state / name
        folder.mkdir(exist_ok=True)
        (folder / "redis.conf").write_text(render_conf(folder, taken[name]))
    if "kafka" in names:
        broker.prepare(settings.state / "kafka", broker.jars_folder(settings.cache), taken, machine.run)


def _create_topics(settings: Settings, taken: Mapping[str, int]) -> None:
    result = machine.run([str(settings.python), "-m", "daytwo.provision"], programs.addresses(taken))
    if result.returncode:
        last = result.stdout.strip().splitlines()[-1:] or ["no output"]
        raise SetupError(f"topics could not be created: {last[0]} (try `python -m daytwo.provision`)")
