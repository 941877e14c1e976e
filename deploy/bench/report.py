"""docs/benchmarks.md, from the figures of one run. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from deploy.bench.targets import Target, largest_costs, targets

Figures = Mapping[str, Any]
VERDICTS: Final = {True: "met", False: "**NOT met**", None: "not measured"}
NAMES: Final = {
    "uncached": "uncached (the tenant's cache is off), ungrounded",
    "missed": "asks the cache, misses, is learned, ungrounded",
    "exact": "cached, same text",
    "semantic": "cached, same meaning",
    "grounded": "grounded, asks the cache and misses",
}


def markdown(figures: Figures) -> str:
    blocks = (
        _head(figures),
        _targets(figures),
        _throughput(figures),
        _latency(figures),
        _costs(figures),
        _resources(figures),
        _machine(figures),
    )
    return "\n".join(line for block in blocks for line in (*block, ""))


def _head(figures: Figures) -> Iterator[str]:
    yield "# Benchmarks"
    yield ""
    yield f"Written by `{figures['command']}`; every figure is from that one run, on one machine that also ran Kafka, Redis, Milvus,"
    yield "the mock provider (which answers at once) and the load generator. The same as JSON: `benchmarks.json`."
    if figures["quick"]:
        yield ""
        yield "**This was a quick run, which shows that the bench works. Its figures mean nothing.**"
    for part, why in figures["skipped"].items():
        yield ""
        yield f"**{part} was skipped: {why}**"


def _targets(figures: Figures) -> Iterator[str]:
    yield "## What was to be reached"
    yield ""
    yield from table(("", "wanted", "measured", ""), [(t.what, t.wanted, t.found, VERDICTS[t.met]) for t in targets(figures)])


def _throughput(figures: Figures) -> Iterator[str]:
    yield "## Requests a second, as many as it can"
    yield ""
    rows = [
        (name, f"{run['per_s']:.0f}", _ms(run), f"{run.get('generator_cpu', 0):.0%}", _answers(run)) for name, run in _saturated(figures)
    ]
    yield from table(("", "requests/s", "p50 / p99 ms", "load generator, of a core", "results"), rows)


def _saturated(figures: Figures) -> Iterator[tuple[str, Any]]:
    if "floor" in figures:
        yield "bare floor: the hops and records of an uncached request, only aiokafka, fastavro and aiohttp", figures["floor"]["saturated"]
        if "kafka_only" in figures["floor"]:
            yield "the same without the call of the provider", figures["floor"]["kafka_only"]
    if "litellm" in figures:
        proxy = figures["litellm"]
        yield f"mock provider alone, {proxy['at_once']} at once", proxy["provider_alone"]
        yield f"LiteLLM proxy {proxy['version']}, {proxy['at_once']} at once", proxy["many"]
        yield f"LiteLLM proxy {proxy['version']}, one by one", proxy["single"]
    for scenario, runs in figures.get("road", {}).items():
        yield f"whole road, {NAMES[scenario]}", runs["saturated"]


def _answers(run: Mapping[str, Any]) -> str:
    told = ", ".join(f"{count} {kind}" for kind, count in run.get("answers", {}).items())
    missing = f", {run['missing']} missing" if run.get("missing") else ""
    return (told + missing) or (f"{run['failed']} failed" if run.get("failed") else "all answered")


def _share(run: Mapping[str, Any]) -> str:
    return f"{run['generator_cpu']:.0%}" if "generator_cpu" in run else "-"


def _ms(run: Mapping[str, Any]) -> str:
    return f"{run['p50_ms']:.1f} / {run['p99_ms']:.1f}"


def _latency(figures: Figures) -> Iterator[str]:
    yield f"## Latency at {figures['plan']['per_s']} requests a second"
    yield ""
    yield "From sending to the arrival of the result; the provider takes no time of its own, so all of it is added by the road."
    yield "The time of calls is what the router sees of the provider, network included."
    yield ""
    floor = [("bare floor", figures["floor"]["steady"])] if "floor" in figures else []
    road = [(f"whole road, {NAMES[scenario]}", runs["steady"]) for scenario, runs in figures.get("road", {}).items()]
    rows = [(name, f"{r['p50_ms']:.1f}", f"{r['p99_ms']:.1f}", f"{r['provider_p50_ms']:.1f}", _answers(r)) for name, r in [*floor, *road]]
    yield from table(("", "p50 ms", "p99 ms", "of this calls, p50 ms", "results"), rows)
    uncached = figures.get("road", {}).get("uncached")
    if uncached:
        yield ""
        yield "Where it goes, uncached (medians): waiting for the service, which holds the way over Kafka, and in it."
        yield ""
        steps = uncached["steady"]["steps_ms"].items()
        yield from table(("service", "waiting ms", "executing ms"), [(s, f"{t['queued']:.1f}", f"{t['executing']:.1f}") for s, t in steps])


def _costs(figures: Figures) -> Iterator[str]:
    road = figures.get("road", {})
    if not road:
        return
    yield "## Processor time per request"
    yield ""
    yield "Milliseconds while saturated, by process."
    yield ""
    programs = list(dict.fromkeys(name for runs in road.values() for name in runs["saturated"]["cpu_ms"]))
    rows = [(name, *(f"{runs['saturated']['cpu_ms'].get(name, 0):.3f}" for runs in road.values())) for name in programs]
    rows.append(("all", *(f"{sum(runs['saturated']['cpu_ms'].values()):.3f}" for runs in road.values())))
    yield from table(("", *(NAMES[scenario] for scenario in road)), rows)
    for scenario, runs in road.items():
        costs = ", ".join(f"{name} {ms:.2f} ms ({share:.0%})" for name, ms, share in largest_costs(runs["saturated"]))
        yield ""
        yield f"The three largest costs, {NAMES[scenario]}: {costs}."


def _resources(figures: Figures) -> Iterator[str]:
    if "memory" not in figures:
        return
    yield "## Memory and idle"
    yield ""
    yield "Memory after all runs, with what is shared divided (PSS); processor time without traffic, before them."
    yield ""
    shares = figures["idle"]["cpu_share"]
    rows = [(name, f"{mib:.0f}", f"{shares.get(name, 0):.1%}") for name, mib in figures["memory"]["mib"].items()]
    rows.append(("our services", f"{figures['memory']['services_mib']:.0f}", f"{figures['idle']['services_cpu_share']:.1%}"))
    yield from table(("", "MiB", "idle, of a core"), rows)
    if "audit" in figures:
        audit = figures["audit"]
        verdict = "clean" if audit["clean"] else f"{len(audit['violations'])} violations"
        yield ""
        yield f"`daytwo audit` over the {audit['counts']['accepted']} requests of this run: {verdict}, in {audit['seconds']:.0f} s."


def _machine(figures: Figures) -> Iterator[str]:
    yield "## Machine"
    yield ""
    yield from table(("", ""), list(figures["machine"].items()))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(columns)} |"
    yield f"|{'---|' * len(columns)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def verdicts(found: Sequence[Target]) -> Iterator[str]:
    """One line a target, for the terminal."""
    for target in found:
        yield f"{VERDICTS[target.met].strip('*'):<12} {target.what}: {target.found} (wanted: {target.wanted})"
