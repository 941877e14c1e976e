"""The alerts that are raised now. Follows alert-raised: what was raised before a restart is not raised again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from daytwo.flow import Change
from daytwo.records import AlertRaised
from daytwo.topics import ALERT_RAISED

OURS = ("cap_used", "spend_rate", "anomaly", "unpriced_model")
"""Kinds of the alerter; cost-meter raises and knows its own."""


class Raised:
    """By id, those that are not over."""

    def __init__(self) -> None:
        self.topic = ALERT_RAISED
        self.rows: dict[str, AlertRaised] = {}
        self.others: dict[str, AlertRaised] = {}
        """Of cost-meter: to be counted, not to be ended."""
        self._over: dict[str, int] = {}
        """By id, when it was over; a record of before that changes nothing."""

    async def apply(self, changes: Sequence[Change[AlertRaised]]) -> None:
        for change in changes:
            if change.record is not None and change.record.kind in OURS:
                self._take(change.record)
            elif change.record is not None and change.record.state == "raised":
                self.others[change.record.alert_id] = change.record
            elif change.record is not None:
                self.others.pop(change.record.alert_id, None)

    def _take(self, record: AlertRaised) -> None:
        if record.at_ms < self._over.get(record.alert_id, 0):
            return
        if record.state == "raised":
            self.rows.setdefault(record.alert_id, record)
        else:
            self.rows.pop(record.alert_id, None)
            self._over[record.alert_id] = record.at_ms

    def news(self, alerts: Iterator[AlertRaised]) -> list[AlertRaised]:
        """Those that are not raised yet."""
        fresh = []
        for each in alerts:
            if each.alert_id not in self.rows:
                self.rows[each.alert_id] = each
                fresh.append(each)
        return fresh

    def resolve(self, record: AlertRaised, now_ms: int) -> AlertRaised:
        over = replace(record, state="resolved", at_ms=max(now_ms, record.at_ms))
        self._take(over)
        return over
