"""Runs the load generator and looks at the processes while it measures."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from deploy.bench.processes import cpu_s, used
from deploy.bench.stack import ROOT


class LoadError(Exception):
    """The load generator gave no result."""


def run_load(order: Mapping[str, Any], pids: Mapping[str, int]) -> dict[str, Any]:
    """The result of the load, with `cpu_ms`: milliseconds of processor time per request of each of `pids`, and of the load itself."""
    command = [sys.executable, "-m", "deploy.bench.load"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(dict(order)))
        process.stdin.close()
        watched = {**pids, "load generator": process.pid}
        moments: dict[str, dict[str, float]] = {}
        result: dict[str, Any] = {}
        for line in process.stdout:
            message = json.loads(line)
            event = message.pop("event")
            moments[event] = cpu_s(watched)
            result = message
    if process.returncode or "per_s" not in result:
        raise LoadError(f"the load generator ended with {process.returncode}")
    if not result["requests"]:
        raise LoadError(f"no result of {result['missing']} requests arrived while it was measured")
    spent = used(moments["begins"], moments["ends"])
    requests = result["requests"]
    return {**result, "cpu_ms": {name: round(seconds * 1000 / requests, 3) for name, seconds in spent.items()}}
