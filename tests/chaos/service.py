"""A service as it is, but that a marked record kills its process, and that a sabotage may be switched on.

`python -m tests.chaos.service MODULE` runs `services.MODULE`. The file `sabotage` in the state folder, read at the start, names one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any

from daytwo.flow import Context, Handler, Input, Output, Service
from daytwo.run import Build, main
from daytwo.world import World
from tests.chaos.sabotage import SABOTAGES


def poison(service: str) -> str:
    """Text that kills the process of this service that handles a request with it."""
    return f"poison for {service}"


def mortal(build: Build) -> Build:
    def built(world: World) -> Service:
        service = build(world)
        return replace(service, inputs=[_mortal(source, poison(service.name).encode()) for source in service.inputs])

    return built


def _mortal(source: Input[Any], mark: bytes) -> Input[Any]:
    if source.handle is None or not source.topic.name.startswith("request-") or source.topic.name == "request-finished":
        return source
    handle: Handler[Any] = source.handle

    async def dies(record: Any, context: Context) -> Sequence[Output]:
        if mark in (context.value or b""):
            os.kill(os.getpid(), signal.SIGKILL)
        return await handle(record, context)

    return replace(source, handle=dies)


def start(module: str, state: Path) -> None:
    file = state / "sabotage"
    if file.exists():
        SABOTAGES[file.read_text()](module)
    main(mortal(import_module(f"services.{module}.build").build))


if __name__ == "__main__":
    start(sys.argv[1], Path(os.environ["DAYTWO_STATE"]))
