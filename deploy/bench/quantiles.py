"""Quantiles as they are reported."""

from __future__ import annotations

from collections.abc import Sequence


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """p50 and p99 (nearest rank) in the unit of `values`, milliseconds by name; 0 where there are none."""
    ordered = sorted(values)
    return {f"p{percent}_ms": round(_rank(ordered, percent), 2) for percent in (50, 99)}


def _rank(ordered: Sequence[float], percent: int) -> float:
    return ordered[max(0, -(-len(ordered) * percent // 100) - 1)] if ordered else 0.0
