"""Which cap of several holds: the one rule of cost-meter, which keeps them, and alerter, which tells when they are used up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache


def most_specific(patterns: Sequence[tuple[str, int]], subject: str) -> int | None:
    """The limit of the most specific pattern that fits, of equal ones the lowest; None: none fits."""
    fitting = [(specificity(pattern), -limit) for pattern, limit in patterns if fits(pattern, subject)]
    return -max(fitting)[1] if fitting else None


def specificity(pattern: str) -> tuple[bool, int]:
    """Orders patterns: one without * is above all others, then the one with more letters."""
    return ("*" not in pattern, len(pattern.replace("*", "")))


def fits(pattern: str, subject: str) -> bool:
    """Whether `subject` is of `pattern`, in which * stands for any letters, or none."""
    return pattern in ("*", subject) or ("*" in pattern and _compiled(pattern).fullmatch(subject) is not None)


@lru_cache(maxsize=4096)
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))))
