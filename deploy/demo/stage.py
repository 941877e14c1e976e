"""The demo's own local stack: in a state folder beside that of `make up`, on free ports, so that both can run."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TextIO

import aiohttp

from deploy.local import stack
from deploy.local.progress import Steps
from deploy.local.readiness import healthy
from deploy.local.settings import Settings, read_settings

ROOT: Final = Path(__file__).parents[2]
CONFIGURATION: Final = Path(__file__).with_name("daytwo.yaml")
COMMAND_S: Final = 60.0
READY_S: Final = 60.0


class CommandError(Exception):
    """A command did not do what it was told; in one line."""


def demo_environment(env: Mapping[str, str], name: str = "demo") -> dict[str, str]:
    """`env` with a state folder of the demo's own and, unless ports are chosen, free ones."""
    chosen = any(name.startswith("DAYTWO_PORT") for name in env)
    # Services other than those of this stack must not be found by accident.
    rest = {name: value for name, value in env.items() if name != "DAYTWO_KAFKA"}
    state = f"{env.get('DAYTWO_STATE') or '.daytwo'}-{name}"
    return {**rest, "DAYTWO_STATE": str((ROOT / state).resolve()), **({} if chosen else {"DAYTWO_PORTS": "free"})}


class Stage:
    """Starts from an empty state. `up` raises SetupError."""

    def __init__(
        self, env: Mapping[str, str], out: TextIO, *, name: str = "demo", configuration: Path = CONFIGURATION, only: str = ""
    ) -> None:
        """`name` is that of its state folder, `only` what is to run (as `--only`; empty: everything)."""
        self._env = demo_environment(env, name)
        self._out = out
        self._where: Mapping[str, Any] = {}
        self._configuration = configuration
        self.settings: Settings = read_settings(self._env, ROOT, Path(sys.executable), only)

    @property
    def kafka(self) -> str:
        return str(self._where["kafka"])

    def up(self) -> None:
        stack.clean(self.settings)
        self._where = stack.up(self.settings, self._env, Steps(stack.UP_STEPS, self._out))

    def down(self, *, forget: bool) -> None:
        """Stops everything; `forget`: and removes its state."""
        (stack.clean if forget else stack.down)(self.settings)

    @property
    def mock_provider(self) -> str:
        """Address of the mock provider, without /v1."""
        return str(self._where["mock_provider"]).removesuffix("/v1")

    async def apply(self, **more: str) -> str:
        """What `daytwo apply` says of the demo's configuration; `more` is put into its environment. Raises CommandError."""
        addresses = {"DAYTWO_DEMO_MODEL": str(self._where.get("model", "")), "DAYTWO_DEMO_MOCK": str(self._where["mock_provider"])}
        code, text = await self.daytwo("apply", str(self._configuration), **addresses, **more)
        if code:
            raise CommandError(f"`daytwo apply` failed: {_one_line(text)}")
        return text.strip().splitlines()[-1].strip()

    async def audit(self) -> dict[str, Any]:
        """What `daytwo audit --json` found. Raises CommandError."""
        _, text = await self.daytwo("audit", "--json")
        try:
            found: dict[str, Any] = json.loads(text[text.index("{") : text.rindex("}") + 1])
        except ValueError:
            raise CommandError(f"`daytwo audit` failed: {_one_line(text)}") from None
        return found

    async def ledger(self) -> dict[str, Any]:
        """cost-meter's /ledger. Raises CommandError."""
        address = next(program["http"] for program in self._where["programs"] if program["name"] == "cost-meter-0")
        try:
            async with aiohttp.ClientSession() as session, session.get(f"{address}/ledger") as answer:
                found: dict[str, Any] = await answer.json()
        except aiohttp.ClientError as error:
            raise CommandError(f"{address}/ledger: {error}") from None
        return found

    async def kill(self, program: str) -> None:
        """kill -9; the supervisor starts it again. Raises CommandError."""
        await self._supervisor("signal", "KILL", program)

    async def stop_model(self) -> None:
        await self._supervisor("stop", "model")

    async def start_model(self) -> None:
        """Returns when it answers. Raises CommandError after a minute without an answer."""
        await self._supervisor("start", "model")
        port = int(str(self._where["model"]).rpartition(":")[2].partition("/")[0])
        until = time.monotonic() + READY_S
        while not await asyncio.to_thread(healthy, port):
            if time.monotonic() > until:
                raise CommandError(f"the model does not answer {READY_S:.0f} s after its start: its log is {self.settings.logs}/model.log")
            await asyncio.sleep(0.2)

    async def _supervisor(self, *action: str) -> None:
        code, text = await _run(["supervisor.supervisorctl", "-s", self._where["supervisor"], *action], os.environ)
        if code:
            raise CommandError(f"supervisorctl {' '.join(action)} failed: {_one_line(text)}")

    async def daytwo(self, *arguments: str, **more: str) -> tuple[int, str]:
        """Exit code of the command, and all that it wrote. Raises CommandError when it takes longer than a minute."""
        return await _run(["daytwo.cli", "--kafka", self.kafka, *arguments], {**self._env, **more})


async def _run(module: list[str], env: Mapping[str, str]) -> tuple[int, str]:
    """Exit code, and all that it wrote. Raises CommandError when it takes longer than a minute."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *module, cwd=ROOT, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), COMMAND_S)
    except TimeoutError:
        raise CommandError(f"{module[0]} takes longer than {COMMAND_S:.0f} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode or 0, output.decode(errors="replace")


def _one_line(text: str) -> str:
    return " ".join(text.split())[-300:]
