"""docs/benchmarks-sessions.md, from the figures of one run, and what was to be reached. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from deploy.bench.report import VERDICTS, table
from deploy.bench.targets import Target

Figures = Mapping[str, Any]

LOADS: Final = {"sessions": "sessions", "trace": "the trace's shape", "burst": "at the same moment"}
P50_MS: Final = 50.0
P99_MS: Final = 500.0
SERVICES_MIB: Final = 2861
"""3 GB."""
GROWTH_MIB: Final = 100.0
"""From the middle of the run of the sessions to its end: less is no growth."""
SETTLED_S: Final = 90.0
"""After so long what piled up before a killed service is worked off."""
FLAT: Final = 2.0
"""The p50 of no minute is so many times that of another; for the p99, twice that."""
GOODPUT: Final = 0.8


def targets(figures: Figures) -> list[Target]:
    return [*_sessions_targets(figures), *_load_targets(figures), _goodput(figures), _audit_target(figures)]


def _sessions_targets(figures: Figures) -> Iterator[Target]:
    run = figures.get("sessions")
    if run is None:
        yield Target(what="ten thousand sessions", wanted="measured", found="not measured", met=None)
        return
    sessions = figures["plan"]["sessions"]
    added = run["judged"]["added"]
    for name, most_ms in (("p50", P50_MS), ("p99", P99_MS)):
        found = added[f"{name}_ms"] if run["judged"]["answered"] else None
        yield _most(f"{sessions} sessions, added latency, {name}", found, most_ms, "ms")
    yield _flat(run)
    yield _memory(run)
    yield _growth(run)
    if run["killed"]:
        unanswered = sum(run["ends"].values())
        what = f"{run['killed']['service']} killed (-9) after {run['killed']['at_s']:.0f} s"
        yield Target(what=what, wanted="no session sees an error", found=f"{unanswered} of {run['asked']}", met=unanswered == 0)


def _most(what: str, found: float | None, most: float, unit: str) -> Target:
    if found is None:
        return Target(what=what, wanted=f"at most {most:.0f} {unit}", found="not measured: the run was too short", met=None)
    return Target(what=what, wanted=f"at most {most:.0f} {unit}", found=f"{found:.1f} {unit}", met=found <= most)


def _flat(run: Mapping[str, Any]) -> Target:
    judged = [bucket["added"] for bucket in run["buckets"] if bucket["judged"] and bucket["answered"]]
    wanted = f"no minute's p50 over {FLAT:.0f} times another's, no p99 over {2 * FLAT:.0f} times"
    if len(judged) < 2:
        return Target(what="flat over time", wanted=wanted, found="not measured: the run was too short", met=None)
    medians, tails = ([added[name] for added in judged] for name in ("p50_ms", "p99_ms"))
    found = f"{min(medians):.1f} to {max(medians):.1f} ms, p99 {min(tails):.0f} to {max(tails):.0f} ms"
    met = max(medians) <= FLAT * max(min(medians), 1.0) and max(tails) <= 2 * FLAT * max(min(tails), 10.0)
    return Target(what="flat over time", wanted=wanted, found=found, met=met)


def _memory(run: Mapping[str, Any]) -> Target:
    found = max((sample["services_mib"] for sample in run["memory"]), default=0.0)
    return Target(what="memory of our services", wanted="less than 3 GB", found=f"{found:.0f} MiB at most", met=0 < found < SERVICES_MIB)


def _growth(run: Mapping[str, Any]) -> Target:
    """How much more the services would have after half of the run, as they grow in its last half: the journal fills up to its bound
    before that. Where one was killed, from when what had piled up before it is worked off: all of it was in flight at once, and
    what a process once needed it keeps."""
    asking = [sample for sample in run["memory"] if sample.get("asking", True)]
    wanted, what = f"less than {GROWTH_MIB:.0f} MiB in the last half", "memory does not grow"
    begins_s = run["killed"]["at_s"] + SETTLED_S if run["killed"] else 0.0
    settled = [sample for sample in asking[len(asking) // 2 :] if sample["at_s"] >= begins_s]
    if len(settled) < 4:
        return Target(what=what, wanted=wanted, found="not measured", met=None)
    (from_s, from_mib), (to_s, to_mib) = (_middle(half) for half in (settled[: len(settled) // 2], settled[-(len(settled) // 2) :]))
    grown = (to_mib - from_mib) / (to_s - from_s) * asking[-1]["at_s"] / 2
    return Target(what=what, wanted=wanted, found=f"{grown:+.0f} MiB", met=grown < GROWTH_MIB)


def _middle(samples: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Mean moment, in seconds, and mean memory of our services, in MiB."""
    return _mean([sample["at_s"] for sample in samples]), _mean([sample["services_mib"] for sample in samples])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def _load_targets(figures: Figures) -> Iterator[Target]:
    for name, what in LOADS.items():
        run = figures.get(name)
        if run is None:
            yield Target(what=f"{what}: nothing lost, one result each", wanted="0 missing", found="not measured", met=None)
            continue
        unanswered = sum(run["ends"].values())
        found = f"{run['missing']} missing, {unanswered} not answered, of {run['asked']}"
        met = run["missing"] == 0 and run["asked"] == run["answered"] + unanswered
        yield Target(what=f"{what}: nothing lost, one result each", wanted="0 missing", found=found, met=met)
    if "burst" in figures:
        run = figures["burst"]
        found = f"{run['most_open']} in flight, {run['answered']} answered"
        met = run["answered"] == run["asked"] == run["most_open"]
        yield Target(what="all in flight at the same moment", wanted="all answered", found=found, met=met)


def _goodput(figures: Figures) -> Target:
    what, wanted = "goodput at twice the knee", "at least 80 % of the knee's"
    if "overload" not in figures:
        return Target(what=what, wanted=wanted, found="not measured", met=None)
    share = figures["overload"]["goodput_per_s"] / figures["overload"]["knee_goodput_per_s"]
    if not figures.get("knee", {}).get("reached"):
        return Target(what=what, wanted=wanted, found=f"{share:.0%} of a rate that is not known to be the knee", met=None)
    return Target(what=what, wanted=wanted, found=f"{share:.0%}", met=share >= GOODPUT)


def _audit_target(figures: Figures) -> Target:
    if "audit" not in figures:
        return Target(what="audit of the whole log", wanted="clean", found="not made", met=None)
    audit = figures["audit"]
    found = f"{len(audit['violations'])} violations in {audit['counts']['accepted']} requests"
    return Target(what="audit of the whole log", wanted="clean", found=found, met=audit["clean"])


def markdown(figures: Figures) -> str:
    blocks = (_head(figures), _reached(figures), _loads(figures), _minutes(figures), _knee(figures), _overload(figures), _machine(figures))
    return "\n".join(line for block in blocks for line in (*block, ""))


def _head(figures: Figures) -> Iterator[str]:
    plan = figures["plan"]
    yield "# Benchmarks: ten thousand sessions"
    yield ""
    yield f"Written by `{figures['command']}`; every figure is from that one run, on one machine that also ran Kafka, Redis, Milvus,"
    yield "the mock provider and the load generator. The same as JSON: `benchmarks-sessions.json`."
    yield ""
    yield f"A session asks, waits for the result, thinks (exponential, mean {plan['think_s']:g} s) and asks again. The provider's latency"
    yield f"is log-normal, median {plan['median_ms'] / 1000:g} s, p99 {plan['p99_ms'] / 1000:g} s. Added latency is all that a request took"
    yield "from sending to the arrival of its result, less what the provider meant to take for that question. The tenant's cache is off:"
    yield "every question goes the whole road and to the provider."
    if "minutes" in figures:
        yield ""
        yield f"The whole run took {figures['minutes']} minutes."
    if figures["quick"]:
        yield ""
        yield "**This was a quick run, which shows that the bench works. Its figures mean nothing.**"
    for part, why in figures["skipped"].items():
        yield ""
        yield f"**{part} was skipped: {why}**"


def _reached(figures: Figures) -> Iterator[str]:
    yield "## What was to be reached"
    yield ""
    yield from table(("", "wanted", "measured", ""), [(t.what, t.wanted, t.found, VERDICTS[t.met]) for t in targets(figures)])


def _loads(figures: Figures) -> Iterator[str]:
    runs = [(what, figures[name]) for name, what in LOADS.items() if name in figures]
    if not runs:
        return
    yield "## The loads"
    yield ""
    columns = (
        "",
        "asked",
        "answered",
        "otherwise",
        "missing",
        "repeats",
        "most in flight",
        "added p50 / p99 ms",
        "load generator, of a core",
        "late p99 ms",
    )
    yield from table(columns, [_load_row(what, run) for what, run in runs])
    yield ""
    yield "A repeat is a further result of the same id, as a service that died may write; the first one counts. Late is how much later"
    yield "than it was due the load generator sent a question; of arrivals that counts as added latency. The burst's added latency is how"
    yield "long the road takes to let all of them in and out."


def _load_row(what: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (run["asked"], run["answered"], _ends(run["ends"]), run["missing"], run["repeats"], run["most_open"])
    return (what, *map(str, counts), _ms(run["judged"]["added"]), f"{run['generator_cpu']:.0%}", f"{run['late']['p99_ms']:.0f}")


def _ends(ends: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in ends.items()) or "-"


def _ms(added: Mapping[str, float]) -> str:
    return f"{added['p50_ms']:.1f} / {added['p99_ms']:.1f}"


def _minutes(figures: Figures) -> Iterator[str]:
    for name, what in LOADS.items():
        run = figures.get(name)
        if run is None or len(run["buckets"]) < 2:
            continue
        yield f"## Over time: {what}"
        yield ""
        columns = ("from s", "asked", "answered", "otherwise", "added p50 / p99 ms", "processor ms a request", "our services MiB", "")
        yield from table(columns, [_minute(run, bucket) for bucket in run["buckets"]])
        yield ""
        yield "Processor time is that of our services. Latency that rises while it does not is waiting for the machine, not work of ours."
        yield ""
        steps = [(step, _ms_of(times, "queued"), _ms_of(times, "executing")) for step, times in run["steps"].items()]
        yield "Where it goes (p50 / p99 of a sample): waiting for the service, which holds the way over Kafka, and in it, without the call."
        yield ""
        yield from table(("service", "waiting ms", "executing ms"), steps)
        yield ""


def _minute(run: Mapping[str, Any], bucket: Mapping[str, Any]) -> tuple[str, ...]:
    memory = [sample["services_mib"] for sample in run["memory"] if sample["at_s"] >= bucket["begins_s"]][:1]
    killed = run["killed"] and bucket["begins_s"] <= run["killed"]["at_s"] < bucket["begins_s"] + bucket["length_s"]
    note = f"{run['killed']['service']} killed" if killed else "" if bucket["judged"] else "not judged"
    mib = f"{memory[0]:.0f}" if memory else "-"
    begins = f"{bucket['begins_s']:.0f}"
    counts = (str(bucket["asked"]), str(bucket["answered"]), _ends(bucket["ends"]))
    return (begins, *counts, _ms(bucket["added"]), _cpu_ms(run, bucket), mib, note)


def _cpu_ms(run: Mapping[str, Any], bucket: Mapping[str, Any]) -> str:
    """Milliseconds of our services' processor time per answer that came, between the first look in the bucket and the first after it;
    what was killed counts from its new beginning."""
    ends_s = bucket["begins_s"] + bucket["length_s"]
    looks = [sample for sample in run["memory"] if bucket["begins_s"] <= sample["at_s"] and "cpu_s" in sample]
    last = next((number for number, sample in enumerate(looks) if sample["at_s"] >= ends_s), len(looks) - 1)
    if last < 1 or not bucket["done"]:
        return "-"
    begins, ends = looks[0], looks[last]
    spent = sum(_since(begins["cpu_s"].get(name, 0.0), seconds) for name, seconds in ends["cpu_s"].items())
    return f"{1000 * spent / (ends['at_s'] - begins['at_s']) * bucket['length_s'] / bucket['done']:.2f}"


def _since(before_s: float, now_s: float) -> float:
    return now_s - before_s if now_s >= before_s else now_s


def _ms_of(times: Mapping[str, float], what: str) -> str:
    return f"{times[f'{what}_p50_ms']:.0f} / {times[f'{what}_p99_ms']:.0f}"


def _knee(figures: Figures) -> Iterator[str]:
    if "knee" not in figures:
        return
    knee = figures["knee"]
    yield "## The knee"
    yield ""
    plan = figures["plan"]
    yield "Arrivals of a Poisson process, each rate for a while. So that a step ends soon, the provider has no long tail here and at twice"
    yield f"the knee: median {plan['knee_median_ms'] / 1000:g} s, p99 {plan['knee_most_ms'] / 1000:g} s. A rate is held where 98 % are"
    yield f"answered and the p99 of added latency is at most {plan['knee_p99_ms']:.0f} ms."
    yield f"The knee is the last rate held: **{knee['knee_per_s']:.0f} requests/s**."
    yield ""
    columns = ("offered/s", "answered", "added p50 / p99 ms", "held", "longest wait for (p99 ms)", "most processor (of a core)")
    yield from table(columns, [_knee_row(step) for step in knee["steps"]])
    broke = knee["steps"][-1]
    yield ""
    yield "A rate that was not held is tried once more: one bad moment of the machine is no knee."
    yield ""
    if broke["holds"]:
        yield "**No rate broke: the knee is above that, and twice that rate is no overload.**"
    else:
        yield f"What gives way first: **{first_to_give_way(broke)}**."


def _knee_row(step: Mapping[str, Any]) -> tuple[str, ...]:
    judged = step["judged"]
    share = judged["answered"] / judged["asked"] if judged["asked"] else 0.0
    waits = sorted(step["steps"].items(), key=lambda item: -item[1]["queued_p99_ms"])[:2]
    busy = sorted(step["cpu_share"].items(), key=lambda item: -item[1])[:3]
    return (
        f"{step['offered_per_s']:.0f}",
        f"{share:.1%}",
        _ms(judged["added"]),
        "yes" if step["holds"] else "**no**",
        ", ".join(f"{name} {times['queued_p99_ms']:.0f}" for name, times in waits),
        ", ".join(f"{name} {used:.0%}" for name, used in busy),
    )


def first_to_give_way(step: Mapping[str, Any]) -> str:
    """The service that requests wait for longest, and how much of a core everything together used."""
    name, times = max(step["steps"].items(), key=lambda item: item[1]["queued_p99_ms"], default=("nothing", {"queued_p99_ms": 0.0}))
    total = sum(step["cpu_share"].values()) + step["generator_cpu"]
    return f"{name}, which requests wait {times['queued_p99_ms']:.0f} ms for (p99), while all programs together use {total:.2f} cores"


def _overload(figures: Figures) -> Iterator[str]:
    if "overload" not in figures:
        return
    run = figures["overload"]
    judged = run["judged"]
    yield "## Twice the knee"
    yield ""
    share, deadline_s = run["goodput_per_s"] / run["knee_goodput_per_s"], figures["plan"]["overload_deadline_s"]
    yield f"{run['offered_per_s']:.0f} requests/s from clients that give an answer {deadline_s:.0f} s and do not try again. Goodput is what"
    yield f"was answered in time: **{run['goodput_per_s']:.0f}/s, {share:.0%} of the knee's {run['knee_goodput_per_s']:.0f}/s**, judged"
    yield f"from {figures['plan']['overload_warm_s']:.0f} s on. A refusal came after {_ms(judged['refused'])} ms (p50 / p99)."
    yield ""
    columns = ("from s", "asked", "answered", "in time", "answers that came", "otherwise", "added p50 / p99 ms")
    yield from table(columns, [_overload_row(bucket) for bucket in run["buckets"]])


def _overload_row(bucket: Mapping[str, Any]) -> tuple[str, ...]:
    counts = (bucket["asked"], bucket["answered"], bucket["in_time"], bucket["done"])
    return (f"{bucket['begins_s']:.0f}", *map(str, counts), _ends(bucket["ends"]), _ms(bucket["added"]))


def _machine(figures: Figures) -> Iterator[str]:
    yield "## Machine"
    yield ""
    yield from table(("", ""), list(figures["machine"].items()))
