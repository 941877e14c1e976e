"""Whether all that was measured was also done right: what `daytwo audit` says of log and ledger."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Any

from deploy.bench.progress import say
from deploy.bench.road import RoadError
from deploy.bench.stack import ROOT, Stack


def audit(stack: Stack) -> dict[str, Any]:
    """The audit's report, and the seconds it took. Raises RoadError where there is none."""
    say("auditing log and ledger")
    started = time.monotonic()
    command = [sys.executable, "-m", "daytwo.cli", "audit", "--json", "--settle", "30s"]
    result = subprocess.run(command, check=False, cwd=ROOT, env=stack.env, stdout=subprocess.PIPE, text=True)
    if not result.stdout:
        raise RoadError("daytwo audit gave no report")
    found = json.loads(result.stdout)
    say(f"  {found['counts']['accepted']} requests, {len(found['violations'])} violations")
    return {**found, "seconds": round(time.monotonic() - started, 1)}
