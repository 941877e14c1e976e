"""What was seen, and what should have been."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Evidence:
    """Each check is a sentence and whether it held. Nothing went as it should if there are none."""

    checks: list[tuple[str, bool]] = field(default_factory=list)
    audit: Mapping[str, Any] = field(default_factory=dict)
    broken_off: str = ""

    def check(self, sentence: str, held: bool) -> bool:
        self.checks.append((sentence, held))
        return held

    def problems(self) -> list[str]:
        broken = [self.broken_off] if self.broken_off else []
        return [*broken, *(sentence for sentence, held in self.checks if not held)] or ([] if self.checks else ["nothing was checked"])
