"""What goes wrong at a moment, and, for most of it, comes right again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from daytwo.broker import Outgoing
from daytwo.records import TenantConfigured, ThrottlePublished
from daytwo.topics import TENANT_CONFIGURED
from tests.simulation.cluster import Cluster
from tests.simulation.network import Trouble
from tests.simulation.providers import Moods
from tests.simulation.scenario import Fault
from tests.simulation.submissions import DEPLOYMENTS, TENANTS

FOR_GOOD_S: Final = 60.0

Strike = Callable[[Cluster, Fault], None]


def _for_a_while(begin: Callable[[Cluster, Fault], Any], end: Callable[[Cluster, Fault], Any]) -> Strike:
    def strike(cluster: Cluster, fault: Fault) -> None:
        begin(cluster, fault)
        cluster.network.later(fault.for_s, end, cluster, fault)

    return strike


def _trouble(cluster: Cluster, fault: Fault) -> None:
    until = cluster.loop.now + fault.for_s
    cluster.network.troubles.append(
        Trouble(call=fault.what, fate=fault.kind, probability=fault.strength, until=until)  # type: ignore[arg-type]
    )


def _mood(cluster: Cluster, fault: Fault) -> None:
    deployment, _, kind = fault.what.partition(":")
    until = cluster.loop.now + fault.for_s
    cluster.providers.moods.append(Moods(deployment=deployment, kind=kind, probability=fault.strength, until=until))


def _kill_all(cluster: Cluster, fault: Fault) -> None:
    for process in list(cluster.processes.values()):
        process.kill()


def _rewind(cluster: Cluster, fault: Fault) -> None:
    """What was committed is set back: records come again that were done long ago."""
    for (group, partition), offset in list(cluster.broker.offsets.items()):
        if group == fault.what:
            cluster.broker.offsets[group, partition] = max(0, offset - int(fault.strength))
    _rebalance(cluster, fault)


def _rebalance(cluster: Cluster, fault: Fault) -> None:
    if fault.what in cluster.broker.groups:
        cluster.broker.groups[fault.what].rebalance()


def _scale_up(cluster: Cluster, fault: Fault) -> None:
    number = sum(cluster.service_of(name) == fault.what for name in cluster.processes)
    cluster.start(f"{fault.what}-{number}")


def _start_again(cluster: Cluster, fault: Fault) -> None:
    name = f"{fault.what}-0"
    if cluster.lives[name] >= 0:
        return
    if cluster.processes[name].dead:
        cluster.lives[name] = abs(cluster.lives[name])
        cluster.start(name)
    else:
        cluster.network.later(1.0, _start_again, cluster, fault)


def _write(*records: Any) -> Callable[[Cluster, Fault], None]:
    return lambda cluster, fault: cluster.write(*records)


def _ledger_older(cluster: Cluster, fault: Fault) -> None:
    """The ledger's machine dies, and a copy from `for_s` before takes its place."""
    cluster.network.later(fault.for_s, cluster.ledger.copy())


def lowered(tenant: TenantConfigured) -> TenantConfigured:
    """With caps that have room for nothing, or for one."""
    return replace(
        tenant,
        caps=tuple(replace(cap, limit_nano=10) for cap in tenant.caps),
        token_caps=tuple(replace(cap, limit_tokens=10) for cap in tenant.token_caps),
        concurrency_caps=tuple(replace(cap, limit_requests=1) for cap in tenant.concurrency_caps),
    )


def _tenant_gone(cluster: Cluster, fault: Fault) -> None:
    """Deleted with requests open; it may come back."""
    gone = Outgoing(topic=TENANT_CONFIGURED.name, key=fault.what.encode(), value=None)
    cluster.broker.write(gone, cluster.clock.now_ms())
    if fault.for_s < FOR_GOOD_S:
        cluster.network.later(fault.for_s, cluster.write, TENANTS[fault.what])


def _throttled(cluster: Cluster, fault: Fault) -> None:
    now_ms = cluster.clock.now_ms()
    until_ms = now_ms + int(fault.for_s * 1000)
    throttle = ThrottlePublished(
        tenant=fault.what,
        scope="tenant",
        subject="",
        kind="requests",
        period="minute",
        limit=1,
        used=1,
        until_ms=until_ms,
        published_at_ms=now_ms,
    )
    cluster.write(throttle)


def _clock_jump(cluster: Cluster, fault: Fault) -> None:
    """A process's clock is set, forwards or back, while it works."""
    cluster.processes[fault.what].clock.skew_ms += int(fault.strength)
    cluster.skews[fault.what] = cluster.skews.get(fault.what, 0) + int(fault.strength)


def _down(down: bool) -> Callable[[Cluster, Fault], None]:
    def turn(cluster: Cluster, fault: Fault) -> None:
        cluster.broker.down = down

    return turn


def _away(away: bool) -> Callable[[Cluster, Fault], None]:
    def turn(cluster: Cluster, fault: Fault) -> None:
        cluster.remotes[fault.what].away = away

    return turn


STRIKES: Final[dict[str, Strike]] = {
    "kill": lambda cluster, fault: cluster.processes[fault.what].kill(),
    "kill_all": _kill_all,
    "pause": _for_a_while(lambda c, f: c.pause(f.what), lambda c, f: c.go_on(f.what)),
    "unheard": _trouble,
    "lost": _trouble,
    "slow": _trouble,
    "clock_jump": _clock_jump,
    "broker_down": _for_a_while(_down(True), _down(False)),
    "away": _for_a_while(_away(True), _away(False)),
    "emptied": lambda cluster, fault: cluster.answers.lose_everything(),
    "mood": _mood,
    "rebalance": _rebalance,
    "rewind": _rewind,
    "scale_up": _scale_up,
    "scale_down": _for_a_while(lambda c, f: c.stop(f"{f.what}-0"), _start_again),
    "ledger_emptied": lambda cluster, fault: cluster.ledger.empty(),
    "ledger_restarted": lambda cluster, fault: cluster.ledger.restart(),
    "ledger_older": _ledger_older,
    "cap_lowered": lambda cluster, fault: cluster.write(lowered(TENANTS[fault.what])),
    "tenant_gone": _tenant_gone,
    "throttled": _throttled,
    "tenant_off": _for_a_while(
        _write(replace(TENANTS["acme"], active=False)),
        _write(TENANTS["acme"]),
    ),
    "deployment_off": lambda cluster, fault: cluster.write(replace(DEPLOYMENTS[fault.what], active=False)),
}
