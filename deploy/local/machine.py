"""What the machine has, what it lacks, and installing that with apt where it may. Standard library only."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from deploy.local.errors import SetupError
from deploy.local.progress import Steps

Which = Callable[[str], str | None]
"""Where a program is on the path, or None: shutil.which in production."""

Run = Callable[[Sequence[str]], subprocess.CompletedProcess[str]]
"""Runs a command to its end and returns it with both outputs in `stdout`; never raises on its exit code."""

Loads = Callable[[str], bool]
"""Whether the dynamic loader finds this shared library."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A program from outside Python that a part needs."""

    program: str
    needed_for: str
    apt_package: str
    version_flag: str
    version_pattern: str
    oldest: int


JAVA = Tool(
    program="java",
    needed_for="Kafka",
    apt_package="default-jre-headless",
    version_flag="-version",
    version_pattern=r'version "(\d+)',
    oldest=17,
)
MAVEN = Tool(
    program="mvn",
    needed_for="fetching Kafka",
    apt_package="maven",
    version_flag="--version",
    version_pattern=r"Apache Maven (\d+)",
    oldest=3,
)
REDIS = Tool(
    program="redis-server",
    needed_for="the ledger and the cache",
    apt_package="redis-server",
    version_flag="--version",
    version_pattern=r"v=(\d+)",
    oldest=6,
)


def run(command: Sequence[str], env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `command`, with `env` added to the environment, and without input, so that nothing waits for an answer."""
    return subprocess.run(
        command,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "DEBIAN_FRONTEND": "noninteractive", **(env or {})},
    )


def loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


class Machine:
    """The person's machine, seen through `which`, `run` and `loads`; what is done to it is told to `steps`."""

    def __init__(
        self,
        steps: Steps,
        which: Which = shutil.which,
        run: Run = run,
        loads: Loads = loads,
        uid: int | None = None,
    ) -> None:
        self._steps = steps
        self._which = which
        self._run = run
        self._loads = loads
        self._uid = os.getuid() if uid is None else uid

    def ensure(self, tools: Sequence[Tool]) -> None:
        """Installs what is missing. Raises SetupError when it may not, or when a program is too old."""
        missing = [tool for tool in tools if self._which(tool.program) is None]
        if missing:
            lacks = " and ".join(f"{tool.program} (for {tool.needed_for})" for tool in missing)
            self.install([tool.apt_package for tool in missing], why=f"{lacks} missing")
        for tool in tools:
            self._check_version(tool)

    def ensure_library(self, library: str, *, apt_package: str, needed_for: str) -> None:
        """Installs a shared library that the loader does not find. Raises SetupError when it may not."""
        if not self._loads(library):
            self.install([apt_package], why=f"{library} (for {needed_for}) missing")

    def install(self, packages: Sequence[str], *, why: str) -> None:
        """Installs Debian packages as root or by passwordless sudo. Raises SetupError with the line to type."""
        command = ["apt-get", "install", "-y", "--no-install-recommends", *packages]
        if self._which("apt-get") is None:
            raise SetupError(f"{why}: install it with your system's package manager (on Debian: {' '.join(command)})")
        prefix = self._root_prefix()
        if prefix is None:
            raise SetupError(f"{why}: type `sudo apt-get update && sudo {' '.join(command)}`")
        self._steps.note(f"{why}: installing {' '.join(packages)} with apt")
        self._run([*prefix, "apt-get", "update", "-qq"])
        result = self._run([*prefix, *command])
        if result.returncode:
            last = result.stdout.strip().splitlines()[-1:] or ["no output"]
            raise SetupError(f"`{' '.join(command)}` failed: {last[0]}")

    def _root_prefix(self) -> list[str] | None:
        if self._uid == 0:
            return []
        if self._which("sudo") and self._run(["sudo", "-n", "true"]).returncode == 0:
            return ["sudo", "-n"]
        return None

    def _check_version(self, tool: Tool) -> None:
        output = self._run([tool.program, tool.version_flag]).stdout
        found = re.search(tool.version_pattern, output)
        if found is None:
            raise SetupError(f"`{tool.program} {tool.version_flag}` does not tell a version: is it installed properly?")
        version = int(found[1])
        if version < tool.oldest:
            raise SetupError(
                f"{tool.program} {version} is too old, {tool.needed_for} needs {tool.oldest}: "
                f"install a newer one (package {tool.apt_package}) and put it first on the path"
            )
