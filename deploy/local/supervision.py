"""supervisord: its configuration, its start and end, and the calls to it."""

from __future__ import annotations

import http.client
import shlex
import socket
import subprocess
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

import psutil
from supervisor.xmlrpc import Faults, SupervisorTransport

from deploy.local.errors import SetupError
from deploy.local.programs import Program
from deploy.local.settings import Settings

STOP_WAIT_S = 15
"""How long a program may drain after SIGTERM before it is killed."""

UNREACHABLE = (OSError, http.client.HTTPException, socket.timeout)


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
stdout_logfile = {_literal(str(settings.logs / program.name))}.log
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
        transport = SupervisorTransport(None, None, f"unix://{settings.socket}")
        self._rpc: Any = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport).supervisor

    def is_running(self) -> bool:
        try:
            return cast("str", self._rpc.getState()["statename"]) == "RUNNING"
        except UNREACHABLE:
            return False

    def start(self) -> None:
        """Starts supervisord in the background, or gives the running one its new configuration."""
        if self.is_running():
            self._reload()
            return
        command = [str(self._settings.python), "-m", "supervisor.supervisord", "-c", str(self.config_file)]
        result = subprocess.run(command, check=False, capture_output=True, text=True)
        deadline = time.monotonic() + 10
        while result.returncode == 0 and time.monotonic() < deadline:
            if self.is_running():
                return
            time.sleep(0.05)
        reason = (result.stderr or result.stdout).strip().splitlines()[-1:] or ["it does not answer"]
        raise SetupError(f"supervisord did not start: {reason[0]} (see {self._settings.state / 'supervisord.log'})")

    @property
    def config_file(self) -> Path:
        return self._settings.state / "supervisord.conf"

    def _reload(self) -> None:
        added, changed, removed = self._rpc.reloadConfig()[0]
        for name in (*changed, *removed):
            self._rpc.stopProcessGroup(name)
            self._rpc.removeProcessGroup(name)
        for name in (*added, *changed):
            self._rpc.addProcessGroup(name)

    def start_program(self, name: str) -> None:
        """Does nothing to one that runs already."""
        with suppress(xmlrpc.client.Fault):
            self._rpc.startProcess(name, False)

    def states(self) -> dict[str, Mapping[str, Any]]:
        """supervisord's account of each program by name: statename, pid, spawnerr; empty when it is not running."""
        try:
            return {info["name"]: info for info in self._rpc.getAllProcessInfo()}
        except UNREACHABLE:
            return {}

    def stop(self) -> None:
        """Stops the services side by side, then the parts, then supervisord; kills what is left of an earlier one."""
        if self.is_running():
            pid = int(self._rpc.getPID())
            for name, info in self.states().items():
                if info["statename"] == "RUNNING":
                    self._stop_program(name)
            with suppress(*UNREACHABLE):
                self._rpc.shutdown()
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                psutil.Process(pid).wait(timeout=STOP_WAIT_S + 10)
        for process in orphans(self._settings.state):
            process.kill()

    def _stop_program(self, name: str) -> None:
        raise NotImplementedError


def orphans(state: Path) -> list[psutil.Process]:
    """Programs of this state folder that outlived a killed supervisord; they would hold its ports and files."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            env = process.environ()
            if env.get("DAYTWO_STATE") == str(state) and "DAYTWO_INSTANCE" in env:
                found.append(process)
    return found
