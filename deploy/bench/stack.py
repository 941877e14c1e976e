"""A stack of its own for the bench: free ports, its own state folder, empty at first."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
PARTS = ("kafka", "topics", "ledger-redis", "cache-redis", "milvus", "mock-provider")
SERVICES = ("ingest", "cost-meter", "embedder", "cache", "retriever", "inference-router", "usage-windows", "alerter")


class Stack:
    def __init__(self, state: Path) -> None:
        self.state = state
        self.env = {**os.environ, "DAYTWO_STATE": str(state), "DAYTWO_PORTS": "free"}

    def up(self, *names: str) -> dict[str, Any]:
        """Starts these programs and returns what stack.json says. Raises CalledProcessError; the logs stay in the state folder."""
        self._deploy("up", "--only", ",".join(names))
        found: dict[str, Any] = json.loads((self.state / "stack.json").read_text())
        return found

    def pids(self) -> dict[str, int]:
        """Process id of each running program by name."""
        rows = json.loads(self._deploy("status", "--json", check=False))
        return {row["name"]: row["pid"] for row in rows if row["pid"]}

    def down(self) -> None:
        """Stops everything; the state folder stays, for its logs."""
        self._deploy("down")

    def clean(self) -> None:
        """Stops everything and removes the state folder. Refuses a folder that is none."""
        self._deploy("clean")

    def _deploy(self, *arguments: str, check: bool = True) -> str:
        command = [sys.executable, "-m", "deploy.local", *arguments]
        return subprocess.run(command, check=check, cwd=ROOT, env=self.env, stdout=subprocess.PIPE, text=True).stdout


@contextmanager
def fresh_stack(state: Path) -> Iterator[Stack]:
    """Empty at the beginning, down at the end. The state stays, for its logs."""
    stack = Stack(state)
    stack.clean()
    try:
        yield stack
    finally:
        stack.down()
