"""A Redis server of one test, that may be killed, emptied and given an older state."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path


class OwnRedis:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        always = ("--appendonly", "yes", "--appendfsync", "always", "--save", "", "--maxmemory-policy", "noeviction")
        command = ["redis-server", "--port", str(self.port), "--dir", str(self.data), *always]
        with (self.folder / "redis.log").open("ab") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=out)
        self._until_it_answers()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def copy(self, name: str) -> None:
        """Keeps the state as of now."""
        shutil.copytree(self.data, self.folder / name)

    def go_back(self, name: str) -> None:
        """Killed, and started again with a state kept earlier."""
        self.kill()
        shutil.rmtree(self.data)
        shutil.copytree(self.folder / name, self.data)
        self.start()

    def empty(self) -> None:
        """Killed, and started again with nothing."""
        self.kill()
        shutil.rmtree(self.data)
        self.data.mkdir()
        self.start()

    def _until_it_answers(self) -> None:
        for _ in range(500):
            with socket.socket() as probe:
                probe.settimeout(1)
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    probe.sendall(b"PING\r\n")
                    if probe.recv(16).startswith(b"+PONG"):
                        return
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")
