"""What is to be reached, and whether it was. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

LARGEST_COSTS: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """`met` is None where it was not measured."""

    what: str
    wanted: str
    found: str
    met: bool | None


def targets(figures: Mapping[str, Any]) -> list[Target]:
    return [_ratio(figures), _processor(figures), *_latencies(figures), *_rest(figures)]


def _ratio(figures: Mapping[str, Any]) -> Target:
    what, wanted = "whole road, uncached, against LiteLLM at 20 at once", "at least 10 times the requests/s"
    road, proxy = _at(figures, "road", "uncached", "saturated", "per_s"), _at(figures, "litellm", "many", "per_s")
    if road is None or not proxy:
        return Target(what=what, wanted=wanted, found="not measured", met=None)
    return Target(what=what, wanted=wanted, found=f"{road / proxy:.1f} times ({road:.0f} against {proxy:.0f})", met=road >= 10 * proxy)


def _processor(figures: Mapping[str, Any]) -> Target:
    """Broker, Redis and load generator included on both sides; the provider is not ours on either."""
    what, wanted = "processor time per request, uncached, against the bare floor", "at most 2 times"
    road, floor = (_ms(figures, *path, "saturated", "cpu_ms") for path in (("road", "uncached"), ("floor",)))
    if not road or not floor:
        return Target(what=what, wanted=wanted, found="not measured", met=None)
    found = f"{road / floor:.1f} times ({road:.2f} ms against {floor:.2f})"
    if without := _ms(figures, "floor", "kafka_only", "cpu_ms"):
        found += f"; {road / without:.1f} times a floor that calls no provider"
    return Target(what=what, wanted=wanted, found=found, met=road <= 2 * floor)


def _ms(figures: Mapping[str, Any], *path: str) -> float:
    """Milliseconds per request of all programs together; 0 where it was not measured."""
    found: Any = figures
    for name in path:
        found = found.get(name, {})
    return float(sum(ms for name, ms in found.items() if name != "mock-provider"))


def _latencies(figures: Mapping[str, Any]) -> Iterator[Target]:
    wanted = [("uncached", "p50_ms", 15), ("uncached", "p99_ms", 60), ("exact", "p50_ms", 15), ("semantic", "p50_ms", 15)]
    for scenario, quantile, most in wanted:
        found = _at(figures, "road", scenario, "steady", quantile)
        what = f"added latency at 100/s, {scenario}, {quantile.removesuffix('_ms')}"
        yield _most(what, found, most, "ms")


def _rest(figures: Mapping[str, Any]) -> Iterator[Target]:
    yield _most("memory of all our services", _at(figures, "memory", "services_mib"), 1430, "MiB")
    share = _at(figures, "idle", "services_cpu_share")
    yield _most("idle processor time of all our services", None if share is None else share * 100, 10, "% of a core")


def _most(what: str, found: float | None, most: float, unit: str) -> Target:
    wanted = f"at most {most} {unit}"
    if not found:
        return Target(what=what, wanted=wanted, found="not measured", met=None)
    return Target(what=what, wanted=wanted, found=f"{found:.1f} {unit}", met=found <= most)


def _at(figures: Mapping[str, Any], *path: str) -> float | None:
    """A figure, or None where it was not measured."""
    found: Any = figures
    for name in path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return float(found)


def largest_costs(run: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """The programs that use the processor most: name, milliseconds per request, share of all."""
    spent: Mapping[str, float] = run["cpu_ms"]
    total = sum(spent.values()) or 1.0
    ranked = sorted(spent.items(), key=lambda item: -item[1])
    return [(name, ms, ms / total) for name, ms in ranked[:LARGEST_COSTS]]
