"""supervisord: its configuration, its start and end, and the calls to it."""

from __future__ import annotations

import http.client
import shlex
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from supervisor.xmlrpc import SupervisorTransport

from deploy.local.errors import SetupError
from deploy.local.ports import DEFAULTS
from deploy.local.programs import Program
from deploy.local.settings import Settings

STOP_WAIT_S = 15
"""How long a program may drain after SIGTERM before it is killed."""

START_WAIT_S = 10

ALIVE = frozenset({"STARTING", "RUNNING", "BACKOFF", "STOPPING"})

UNREACHABLE = (OSError, http.client.HTTPException)


def render(settings: Settings, programs: Iterable[Program]) -> str:
    """supervisord's configuration. Nothing starts by itself: `up` starts in order and waits in between."""
    head = f"""\
[unix_http_server]
file = {_literal(str(settings.socket))}

[supervisord]
directory = {_literal(str(settings.root))}
logfile = {_literal(str(settings.state / "supervisord.log"))}
pidfile = {_literal(str(settings.state / "supervisord.pid"))}
childlogdir = {_literal(str(settings.logs))}

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""
    return head + "".join(_section(settings, program) for program in programs)


def _section(settings: Settings, program: Program) -> str:
    environment = ",".join(f'{key}="{_literal(value)}"' for key, value in sorted(program.env.items()))
    # supervisord 4.3 expands this one value twice.
    log = _literal(_literal(str(settings.logs / f"{program.name}.log")))
    # A low number starts first and stops last: services drain while the parts still stand.
    priority = 100 if program.kind == "part" else 500
    # Retrying never ends by itself: supervisord's own limit of three would leave a crash loop dead. Each failed
    # start waits a second longer than the one before.
    return f"""
[program:{program.name}]
command = {_literal(shlex.join(program.command))}
environment = {environment}
autostart = false
autorestart = true
startsecs = 1
startretries = 1000
stopsignal = TERM
stopwaitsecs = {STOP_WAIT_S}
stopasgroup = false
killasgroup = true
priority = {priority}
redirect_stderr = true
stdout_logfile = {log}
stdout_logfile_maxbytes = 20MB
stdout_logfile_backups = 2
"""


def _literal(text: str) -> str:
    """supervisord expands per cent signs in every value."""
    return text.replace("%", "%%")


class Supervisor:
    """The running supervisord of one state folder, if there is one."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @property
    def config_file(self) -> Path:
        return self._settings.state / "supervisord.conf"

    def is_running(self) -> bool:
        try:
            return bool(self._call("getState")["statename"] == "RUNNING")
        except UNREACHABLE:
            return False

    def start(self) -> None:
        """Starts supervisord in the background, or gives the running one its new configuration."""
        if self.is_running():
            self._reload()
            return
        command = [str(self._settings.python), "-m", "supervisor.supervisord", "-c", str(self.config_file)]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        deadline = time.monotonic() + START_WAIT_S
        while result.returncode == 0 and time.monotonic() < deadline:
            if self.is_running():
                return
            time.sleep(0.05)
        reason = (result.stderr or result.stdout).strip().splitlines()[:1] or ["it does not answer"]
        raise SetupError(f"supervisord did not start: {reason[0]} (see {self._settings.state / 'supervisord.log'})")

    def start_program(self, name: str) -> None:
        """Does nothing to one that runs already. Returns before it is ready."""
        with suppress(xmlrpc.client.Fault):
            self._call("startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """Asks one to drain and end. Returns before it has."""
        with suppress(xmlrpc.client.Fault):
            self._call("stopProcess", name, False)

    def states(self) -> dict[str, Mapping[str, Any]]:
        """supervisord's account of each program by name: statename, pid, spawnerr; empty when it is not running."""
        try:
            return {info["name"]: info for info in self._call("getAllProcessInfo")}
        except UNREACHABLE:
            return {}

    def alive(self) -> set[str]:
        """The programs that run or are being started."""
        return {name for name, info in self.states().items() if info["statename"] in ALIVE}

    def stop(self) -> None:
        """Stops the services side by side, then the parts, then supervisord; ends what an earlier one left behind."""
        if self.is_running():
            process = psutil.Process(self._call("getPID"))
            self._stop_programs(services=True)
            self._stop_programs(services=False)
            with suppress(*UNREACHABLE):
                self._call("shutdown")
            with suppress(psutil.TimeoutExpired):
                process.wait(timeout=STOP_WAIT_S)
        end_orphans(self._settings.state)

    def _stop_programs(self, *, services: bool) -> None:
        names = {name for name in self.states() if (name not in DEFAULTS) == services}
        for name in names:
            with suppress(xmlrpc.client.Fault):
                self._call("stopProcess", name, False)
        deadline = time.monotonic() + STOP_WAIT_S + 5
        while time.monotonic() < deadline:
            if not names & self.alive():
                return
            time.sleep(0.1)

    def _reload(self) -> None:
        added, changed, removed = self._call("reloadConfig")[0]
        for name in (*changed, *removed):
            self._call("stopProcessGroup", name)
            self._call("removeProcessGroup", name)
        for name in (*added, *changed):
            self._call("addProcessGroup", name)

    def _call(self, method: str, *arguments: Any) -> Any:
        # A transport keeps its connection, and a dead one for ever: each call gets its own.
        transport = SupervisorTransport(None, None, f"unix://{self._settings.socket}")
        try:
            proxy: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
            return getattr(proxy.supervisor, method)(*arguments)
        finally:
            transport.close()


def end_orphans(state: Path) -> None:
    """Ends programs of this state folder that outlived a killed supervisord: they hold its ports and files."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if _belongs_to(process, state):
                process.terminate()
                found.append(process)
    _, left = psutil.wait_procs(found, timeout=STOP_WAIT_S)
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _belongs_to(process: psutil.Process, state: Path) -> bool:
    if process.name() == "redis-server":
        # It writes its title over its environment, but works in its own folder.
        return state in Path(process.cwd()).parents
    env = process.environ()
    return env.get("DAYTWO_STATE") == str(state) and "DAYTWO_INSTANCE" in env
