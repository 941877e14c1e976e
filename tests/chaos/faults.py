"""What can be done to a running system. Each fault has a beginning and an end, and leaves nothing behind."""

from __future__ import annotations

import asyncio
import errno
import signal
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from daytwo.client import Client
from tests.chaos.plan import Step
from tests.chaos.service import poison
from tests.chaos.site import Site

DELAY_S = 0.2
RESULT_S = 60.0
MIB = 1 << 20


class Fault(Protocol):
    async def begin(self) -> None: ...

    async def end(self) -> None:
        """Returns when the harm is done with; recovery is measured from here."""
        ...


class SkippedError(Exception):
    """This machine does not allow the fault."""


class Kill:
    """kill -9, of all targets at once. supervisord starts them again."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        self._site, self._targets = site, targets

    async def begin(self) -> None:
        await self._site.signal(self._targets, signal.SIGKILL)

    async def end(self) -> None:
        return None


class Freeze:
    """SIGSTOP and SIGCONT: longer than the session's time, the process wakes up believing that it owns its partitions still."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        self._site, self._targets = site, targets

    async def begin(self) -> None:
        await self._site.signal(self._targets, signal.SIGSTOP)

    async def end(self) -> None:
        await self._site.signal(self._targets, signal.SIGCONT)


class Scale:
    """One replica more, and away again."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        self._site, self._targets = site, targets

    async def begin(self) -> None:
        for name in self._targets:
            await self._site.start(name)

    async def end(self) -> None:
        for name in self._targets:
            await self._site.stop(name)


class Cut:
    """Connections are reset, new ones too."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        self._links = [site.links[name] for name in targets]

    async def begin(self) -> None:
        for link in self._links:
            link.set_mode("cut")

    async def end(self) -> None:
        for link in self._links:
            link.set_mode("pass")


class Delay:
    """DELAY_S longer each way."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        self._links = [site.links[name] for name in targets]

    async def begin(self) -> None:
        for link in self._links:
            link.delay_s = DELAY_S

    async def end(self) -> None:
        for link in self._links:
            link.delay_s = 0


class HalfOpen(Cut):
    """The other side has gone without a word. Connections of that time stay dead; later ones work."""

    async def begin(self) -> None:
        for link in self._links:
            link.set_mode("silent")


class FullDisk:
    """Whatever room Kafka's file system has is taken. A broker whose log directory fails stops; supervisord starts it again."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        if site.disk is None:
            raise SkippedError("no file system could be mounted for Kafka: run as root")
        self._ballast = site.disk / "ballast"

    async def begin(self) -> None:
        await asyncio.to_thread(self._fill)

    def _fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            for size in (MIB, 4096, 1):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    async def end(self) -> None:
        self._ballast.unlink()


class Poison:
    """A request that kills whichever process of a service handles it. Ends when it is set aside."""

    def __init__(self, site: Site, targets: Sequence[str]) -> None:
        # Of a tenant whose requests pass by every service.
        self._client = Client(site.where["kafka"], tenant="cached", timeout=RESULT_S)
        self._targets = targets
        self._ids: list[str] = []

    async def begin(self) -> None:
        await self._client.__aenter__()
        for service in self._targets:
            self._ids.append(await self._client.submit(poison(service)))

    async def end(self) -> None:
        try:
            for request_id in self._ids:
                result = await self._client.result(request_id, check=False)
                if result.reason != "poison_record":
                    raise RuntimeError(f"a poison record ended as {result.outcome}, {result.reason}: {result.detail}")
        finally:
            await self._client.close()


FAULTS: Mapping[str, Callable[[Site, Sequence[str]], Fault]] = {
    "kill a service": Kill,
    "kill several services": Kill,
    "kill all services": Kill,
    "freeze a service": Freeze,
    "scale up and down": Scale,
    "kill Kafka": Kill,
    "fill Kafka's disk": FullDisk,
    "kill a store": Kill,
    "kill all stores": Kill,
    "cut connections": Cut,
    "delay connections": Delay,
    "leave connections half-open": HalfOpen,
    "send a poison record": Poison,
}


def fault(site: Site, step: Step) -> Fault:
    """Raises SkippedError."""
    return FAULTS[step.fault](site, step.targets)
