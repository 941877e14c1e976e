"""Whom an entry counts for, and how many there may be."""

from __future__ import annotations

from daytwo.records import TenantConfigured, UsageEntry, UsageRecorded
from services.usage_windows.subjects import Subjects
from services.usage_windows.windows import Windows
from tests.usage_windows.builders import NOON, entry, rate, tenant

WEEK = 7 * 86_400_000


def subjects(most: int = 10) -> Subjects:
    return Subjects(dict[bytes, Windows](), most)


def apply(there: Subjects, *entries: UsageEntry, of: TenantConfigured | None = None, now_ms: int = NOON) -> set[str]:
    record = UsageRecorded(tenant="acme", topic="request-finished", partition=0, entries=entries)
    return set(there.apply(record, 2, of, now_ms))


def test_an_entry_counts_for_the_tenant_and_all_it_names() -> None:
    touched = apply(subjects(), entry(1, user="ann", workflow="w-1", agent="planner", session="s-1"))
    assert touched == {"acme/tenant/", "acme/user/ann", "acme/workflow/w-1", "acme/agent/planner"}


def test_sessions_are_kept_where_they_are_limited() -> None:
    assert "acme/session/s-1" in apply(subjects(), entry(1, session="s-1"), of=tenant(rate(scope="session")))


def test_what_was_in_before_is_touched_too_so_that_it_is_saved_before_it_is_acknowledged() -> None:
    there = subjects()
    apply(there, entry(1))
    assert apply(there, entry(1)) == {"acme/tenant/"}


def test_subjects_beyond_the_bound_are_counted_together() -> None:
    there = subjects(most=2)
    touched = apply(there, *(entry(number, user=f"u-{number}") for number in range(50)))
    assert touched == {"acme/tenant/", "acme/user/u-0", "acme/user/u-1", "acme/user/*other"}
    other = there.kept[b"acme/user/*other"]
    assert sum(row.requests for row in other.publications(list(other.sums), NOON) if row.width == "day") == 48


def test_who_did_nothing_since_the_week_before_makes_room_and_is_deleted_from_the_log() -> None:
    there = subjects(most=1)
    apply(there, entry(1, user="old"))
    old = there.kept[b"acme/user/old"]
    old.published(dict(old.sums), NOON)
    later = NOON + 2 * WEEK
    assert "acme/user/new" in apply(there, entry(2, user="new", at_ms=later), now_ms=later)
    assert [windows.key for windows in there.forgotten] == ["acme/user/old"]


def test_what_is_not_published_is_never_dropped() -> None:
    there = subjects(most=1)
    apply(there, entry(1, user="old"))
    later = NOON + 2 * WEEK
    assert "acme/user/*other" in apply(there, entry(2, user="new", at_ms=later), now_ms=later)


def test_the_limits_of_a_tenant_hold_as_soon_as_they_are_others() -> None:
    there = subjects()
    assert [held.limit for held in there.limits(tenant(rate(limit=5)), "tenant", "")] == [5]
    assert [held.limit for held in there.limits(tenant(rate(limit=9)), "tenant", "")] == [9]
    assert there.limits(tenant(rate(scope="user")), "user", "*other") == []
