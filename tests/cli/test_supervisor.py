"""The answers of supervisord, from a real one where it is installed."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from daytwo.cli.supervisor import processes

CONFIG = """\
[unix_http_server]
file = {folder}/s.sock
[supervisord]
nodaemon = true
logfile = {folder}/log
pidfile = {folder}/pid
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[program:sleeper]
command = sleep 60
startsecs = 0
[program:idle]
command = sleep 60
autostart = false
"""


@pytest.fixture
def supervisord() -> Iterator[str]:
    pytest.importorskip("supervisor", exc_type=ImportError)
    with TemporaryDirectory() as folder:  # a short path: the kernel limits a socket's
        (Path(folder) / "conf").write_text(CONFIG.format(folder=folder))
        command = [sys.executable, "-W", "ignore", "-m", "supervisor.supervisord", "-c", f"{folder}/conf"]
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield f"unix://{folder}/s.sock"
        finally:
            running.terminate()
            running.wait(timeout=20)


def test_each_program_has_its_state_and_pid(supervisord: str) -> None:
    for _ in range(100):
        if processes(supervisord).get("sleeper", {}).get("statename") == "RUNNING":
            break
        time.sleep(0.1)
    found = processes(supervisord)
    assert (found["sleeper"]["statename"], found["idle"]["statename"]) == ("RUNNING", "STOPPED")
    assert found["sleeper"]["pid"] > 0


@pytest.mark.parametrize("address", ["", "unix:///nowhere.sock", "http://127.0.0.1:9", f"unix://{__file__}"])
def test_no_supervisor_is_no_program(address: str) -> None:
    assert processes(address) == {}
