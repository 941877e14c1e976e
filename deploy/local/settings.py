"""The local stack's settings: all from `DAYTWO_*` variables, read once, with a default for each."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local.errors import SetupError

ALONE = ("alerter",)
"""Services of which there is one process; each says why in its README."""
SERVICES = ("ingest", "cost_meter", "embedder", "cache", "retriever", "inference_router", "usage_windows", "alerter")
"""Our services by module name, in the order of the request road."""

SOCKET_PATH_LIMIT = 90
"""Bytes. The kernel's limit is 108; supervisord first binds a name that is longer by its pid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Where the stack lives and what runs in it. `only` empty means everything."""

    root: Path
    state: Path
    cache: Path
    python: Path
    free_ports: bool = False
    one_process: bool = False
    replicas: Mapping[str, int]
    only: frozenset[str] = frozenset()

    @property
    def socket(self) -> Path:
        """supervisord's control socket: in the state folder, or under the system's temporary folder if that is too deep."""
        inside = self.state / "supervisor.sock"
        if len(str(inside).encode()) <= SOCKET_PATH_LIMIT:
            return inside
        name = hashlib.sha256(str(self.state).encode()).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"daytwo-{name}.sock"

    @property
    def stack_file(self) -> Path:
        return self.state / "stack.json"

    @property
    def logs(self) -> Path:
        return self.state / "logs"


def read_settings(env: Mapping[str, str], root: Path, python: Path, only: str = "") -> Settings:
    """Raises SetupError for a value that cannot be meant."""
    ports = env.get("DAYTWO_PORTS", "")
    if ports not in {"", "free"}:
        raise SetupError(f"DAYTWO_PORTS={ports} is not known: leave it unset, or set it to free")
    return Settings(
        root=root,
        state=(root / env.get("DAYTWO_STATE", ".daytwo")).resolve(),
        cache=(root / env.get("DAYTWO_CACHE", ".daytwo-cache")).resolve(),
        python=python,
        free_ports=ports == "free",
        one_process=_flag(env, "DAYTWO_ONE_PROCESS"),
        replicas=parse_replicas(env.get("DAYTWO_REPLICAS", "")),
        only=frozenset(name.strip() for name in only.split(",") if name.strip()),
    )


def parse_replicas(text: str) -> dict[str, int]:
    """`"cache=2,ingest=3"` as processes per service; a service not named has one."""
    replicas = dict.fromkeys(SERVICES, 1)
    for item in filter(None, (part.strip() for part in text.split(","))):
        name, _, count = item.partition("=")
        if name not in replicas or not count.isdecimal() or not 1 <= int(count) <= 9:
            known = ", ".join(SERVICES)
            raise SetupError(f"DAYTWO_REPLICAS: {item!r} is not SERVICE=1..9 with a service of: {known}")
        if name in ALONE and int(count) > 1:
            raise SetupError(f"DAYTWO_REPLICAS: {name} runs in one process, see services/{name}/README.md")
        replicas[name] = int(count)
    return replicas


def _flag(env: Mapping[str, str], name: str) -> bool:
    value = env.get(name, "0")
    if value not in {"", "0", "1"}:
        raise SetupError(f"{name}={value} is not known: set it to 1 or 0")
    return value == "1"
