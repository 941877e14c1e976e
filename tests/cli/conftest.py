"""The command as a person types it, on a broker in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from daytwo.broker import Partition
from daytwo.cli import main
from daytwo.cli.site import Site
from daytwo.clock import SystemClock
from daytwo.memory import MemoryBroker
from daytwo.topics import TOPICS
from tests.client.services import AnsweringBroker


@dataclass(kw_only=True)
class FakeCluster:
    existing: dict[str, int] = field(default_factory=lambda: {topic.name: topic.partitions for topic in TOPICS})
    offsets: dict[str, dict[Partition, int]] = field(default_factory=dict)

    async def topics(self) -> Mapping[str, int]:
        return self.existing

    async def committed(self, groups: Sequence[str]) -> Mapping[str, Mapping[Partition, int]]:
        return {group: self.offsets.get(group, {}) for group in groups}


@dataclass(frozen=True, kw_only=True)
class Said:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


class Daytwo:
    """`daytwo(...)` runs the command. State and environment are those of the test."""

    def __init__(self, state: Path) -> None:
        self.state = state
        self.broker: MemoryBroker = AnsweringBroker(SystemClock())
        self.cluster = FakeCluster()
        self.env: dict[str, str] = {"DAYTWO_STATE": str(state)}
        self.connected: list[str] = []

    def connect(self, bootstrap: str) -> MemoryBroker:
        self.connected.append(bootstrap)
        return self.broker

    def __call__(self, *arguments: str | Path, stdin: str | None = None) -> Said:
        site = Site(env=self.env, connect=self.connect, administer=lambda _: self.cluster, grace=0.1)
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], obj=site, input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Said(code=result.exit_code, out=result.stdout, err=result.stderr)


@pytest.fixture
def daytwo(tmp_path: Path) -> Daytwo:
    return Daytwo(tmp_path)


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "daytwo.yaml"
        path.write_text(text)
        return path

    return write
