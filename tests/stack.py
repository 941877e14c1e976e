"""A stack of real parts for tests: on free ports, in a state folder of its own, gone afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
STATE = ROOT / ".daytwo-test"


@contextmanager
def running_stack(only: str = "", state: Path = STATE, env: Mapping[str, str] | None = None) -> Iterator[dict[str, Any]]:
    """Starts from an empty state and yields what `stack.json` says. `only` is `--only`; `env` adds DAYTWO_* settings.

    Progress goes to standard error. Raises CalledProcessError when it does not come up; its logs then stay in `state`.
    """
    settings = {**os.environ, "DAYTWO_PORTS": "free", "DAYTWO_STATE": str(state), **(env or {})}

    def deploy(*arguments: str) -> None:
        command = [sys.executable, "-m", "deploy.local", *arguments]
        subprocess.run(command, check=True, cwd=ROOT, env=settings, stdout=subprocess.DEVNULL)

    deploy("clean")
    try:
        deploy("up", "--only", only)
        yield json.loads((state / "stack.json").read_text())
    finally:
        # The state stays for whoever wants to read the logs; the next run starts from an empty one.
        deploy("down")
