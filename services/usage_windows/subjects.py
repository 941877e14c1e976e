"""All subjects this process keeps: whom an entry counts for, and how many there may be."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, MutableMapping, Sequence

from daytwo.records import RateLimit, TenantConfigured, UsageEntry, UsageRecorded
from services.usage_windows.rates import limits_of
from services.usage_windows.windows import OTHER, WIDTH_MS, Windows, start_of

MOST_LIMITS = 100_000
"""Subjects whose limits are kept looked up."""


class Subjects:
    """The windows by key (tenant/scope/subject). `kept` is where they are.

    A tenant has at most `most` subjects of a scope; those beyond are counted together, and not limited. One that did nothing since
    the week before makes room.
    """

    def __init__(self, kept: MutableMapping[bytes, Windows], most: int) -> None:
        self.kept = kept
        self.forgotten: list[Windows] = []
        """Dropped and not yet deleted from the log; whoever deletes them takes them out."""
        self._most = most
        self._of_tenant: defaultdict[str, defaultdict[str, set[bytes]]] = defaultdict(lambda: defaultdict(set))
        self._limits: dict[tuple[str, str, str], tuple[TenantConfigured, list[RateLimit]]] = {}

    def take(self, found: Iterable[Windows]) -> None:
        for windows in found:
            key = windows.key.encode()
            self.kept[key] = windows
            self._of_tenant[windows.tenant][windows.scope].add(key)

    def clear(self) -> None:
        self.kept.clear()
        self.forgotten.clear()
        self._of_tenant.clear()

    def knows(self, tenant: str) -> bool:
        return any(self._of_tenant.get(tenant, {}).values())

    def of_tenant(self, tenant: str) -> list[Windows]:
        return [self.kept[key] for keys in self._of_tenant.get(tenant, {}).values() for key in keys if key in self.kept]

    def apply(self, record: UsageRecorded, partition: int, tenant: TenantConfigured | None, now_ms: int) -> dict[str, Windows]:
        """Counts a record's entries; returns every subject they are of, also where they were in before."""
        sessions = tenant is not None and any(rate.scope == "session" for rate in tenant.rate_limits)
        touched: dict[str, Windows] = {}
        place = f"{record.topic}/{record.partition}"
        for (scope, subject), entries in _by_subject(record.entries, sessions=sessions).items():
            windows = self._windows(record.tenant, scope, subject, partition, entries[0].at_ms, now_ms)
            windows.apply(entries, record.topic, place, self.limits(tenant, windows.scope, windows.subject), now_ms)
            touched[windows.key] = windows
        return touched

    def limits(self, tenant: TenantConfigured | None, scope: str, subject: str) -> list[RateLimit]:
        """The rate limits that hold for a subject now."""
        if tenant is None or not tenant.rate_limits or subject == OTHER:
            return []
        asked = (tenant.tenant, scope, subject)
        known = self._limits.get(asked)
        if known is None or known[0] is not tenant:
            if len(self._limits) >= MOST_LIMITS:
                self._limits.clear()
            known = self._limits[asked] = (tenant, limits_of(tenant.rate_limits, scope, subject))
        return known[1]

    def _windows(self, tenant: str, scope: str, subject: str, partition: int, at_ms: int, now_ms: int) -> Windows:
        key = f"{tenant}/{scope}/{subject}".encode()
        known = self.kept.get(key)
        if known is not None:
            return known
        if subject != OTHER and len(self._of_tenant[tenant][scope]) >= self._most and not self._make_room(tenant, scope, at_ms):
            return self._windows(tenant, scope, OTHER, partition, at_ms, now_ms)
        windows = self.kept[key] = Windows(tenant=tenant, scope=scope, subject=subject, partition=partition)
        # A new subject is published in its turn, one that was restored at once: it may have been due for long.
        windows.published_ms = dict.fromkeys(WIDTH_MS, now_ms)
        self._of_tenant[tenant][scope].add(key)
        return windows

    def _make_room(self, tenant: str, scope: str, at_ms: int) -> bool:
        keys = self._of_tenant[tenant][scope]
        before = start_of("week", at_ms) - WIDTH_MS["week"]
        for key in [key for key in keys if self.kept[key].latest_ms < before and not self.kept[key].changed]:
            keys.discard(key)
            self.forgotten.append(self.kept.pop(key))
        return len(keys) < self._most


def _by_subject(entries: Sequence[UsageEntry], *, sessions: bool) -> dict[tuple[str, str], list[UsageEntry]]:
    """Whom entries count for. Sessions come and go by the thousand: they are kept only where they are limited."""
    found: dict[tuple[str, str], list[UsageEntry]] = {("tenant", ""): list(entries)} if entries else {}
    for entry in entries:
        for scope, subject in (("user", entry.user), ("workflow", entry.workflow), ("agent", entry.agent)):
            if subject:
                found.setdefault((scope, subject), []).append(entry)
        if sessions and entry.session:
            found.setdefault(("session", entry.session), []).append(entry)
    return found
