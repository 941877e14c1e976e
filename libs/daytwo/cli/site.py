"""Where a command works: the environment, the stack that was started here, the broker."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import platform
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from daytwo.broker import Broker
from daytwo.cli.cluster import Cluster, KafkaCluster
from daytwo.clock import Clock, SystemClock

if TYPE_CHECKING:
    from daytwo.client import Client, SigningKey

T = TypeVar("T")

FALLBACK = "127.0.0.1:9092"


def _kafka_broker(bootstrap: str) -> Broker:
    from daytwo.kafka import KafkaBroker

    return KafkaBroker(bootstrap)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number that has no name
        return f"user {os.getuid()}"


def _run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@dataclass(frozen=True, kw_only=True)
class Site:
    """Tests put a broker in memory and a clock of theirs here."""

    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    clock: Clock = field(default_factory=SystemClock)
    connect: Callable[[str], Broker] = _kafka_broker
    administer: Callable[[str], Cluster] = KafkaCluster
    given_kafka: str | None = None
    grace: float = 10.0
    """Seconds a client waits beyond the deadline."""
    user: str = field(default_factory=lambda: _user())
    host: str = field(default_factory=platform.node)

    def at(self, kafka: str | None) -> Site:
        return replace(self, given_kafka=kafka)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it, with the errors of the client as one line."""
        from daytwo.client.errors import ClientError

        try:
            return _run(work)
        except ClientError as error:
            raise click.ClickException(" ".join(str(error).split())) from error

    @property
    def who(self) -> str:
        """Who works here, for the records that ask for it: ann@laptop."""
        return f"{self.env.get('LOGNAME') or self.env.get('USER') or self.user}@{self.host or 'somewhere'}"

    @cached_property
    def stack(self) -> Mapping[str, Any]:
        """What `make up` wrote into stack.json of the state folder; empty where nothing was started."""
        path = Path(self.env.get("DAYTWO_STATE", ".daytwo")) / "stack.json"
        try:
            stack = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise click.ClickException(f"{path} cannot be read ({error}): `make down` and `make up` write it anew") from error
        return stack if isinstance(stack, dict) else {}

    @cached_property
    def kafka(self) -> str:
        from daytwo.client.errors import InvalidInputError
        from daytwo.client.input import check_address

        address = str(self.given_kafka or self.env.get("DAYTWO_KAFKA") or self.stack.get("kafka") or FALLBACK)
        try:
            check_address(address)
        except InvalidInputError as error:
            raise click.ClickException(str(error)) from error
        return address

    def client(self, tenant: str, key: SigningKey | None, timeout: float) -> Client:
        from daytwo.client import Client

        return Client(self.kafka, tenant=tenant, key=key, timeout=timeout, grace=self.grace, broker=self.broker, clock=self.clock)

    @property
    def broker(self) -> Broker:
        return self.connect(self.kafka)

    @property
    def cluster(self) -> Cluster:
        return self.administer(self.kafka)
