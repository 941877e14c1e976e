"""usage-windows as a process of its own, to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


class Process:
    def __init__(self, kafka: str, state: Path, port: int, **env: str) -> None:
        self.port = port
        self._log = state / "usage-windows.log"
        settings = {"DAYTWO_KAFKA": kafka, "DAYTWO_STATE": str(state), "DAYTWO_HTTP_PORT": str(port)}
        self._env = {**os.environ, **settings, "PYTHONPATH": "libs:.", **env}
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "services.usage_windows", cwd=ROOT, env=self._env, stdout=log, stderr=log
            )

    async def kill(self, number: int = signal.SIGKILL) -> None:
        process, self._process = self._process, None
        if process is not None and process.returncode is None:
            process.send_signal(number)
            await process.wait()

    async def view(self) -> dict[str, Any] | None:
        """/windows; None while it does not answer."""

        def get() -> dict[str, Any] | None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/windows", timeout=2) as answer:
                    found: dict[str, Any] = json.load(answer)
                    return found
            except OSError:
                return None

        return await asyncio.to_thread(get)

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid
