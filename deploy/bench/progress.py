"""What the bench says while it runs, on standard error."""

from __future__ import annotations

import sys


def say(text: str) -> None:
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
