"""How many files and connections a process may have open."""

from __future__ import annotations

import resource


def allow_many() -> None:
    """As many as the system lets us. By default it is often 1,024, and each call under way of a provider is a connection."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
