"""Tells the mock provider how to behave."""

from __future__ import annotations

from typing import Any, Final

import aiohttp

FAULTS: Final = [
    {"kind": "status_500", "probability": 0.05},
    {"kind": "status_429", "probability": 0.05, "retry_after": 0.2},
    {"kind": "cut_body", "probability": 0.04},
    {"kind": "malformed_json", "probability": 0.03},
    {"kind": "no_usage", "probability": 0.04},
]
"""Refused, cut off, unreadable, without usage: of each hundred calls, a fifth."""
OVERBILLED: Final = [{"kind": "overbill", "factor": 5}]
"""Every call is billed, and reported, with five times its tokens."""


async def behave(address: str, *, faults: list[dict[str, Any]] | None = None, **config: Any) -> None:
    """`config`: latency_ms, output_tokens. No faults: none."""
    async with aiohttp.ClientSession() as session:
        for path, body in (("config", config), ("faults", faults or [])):
            async with session.put(f"{address}/{path}", json=body) as answer:
                answer.raise_for_status()
