"""Makes a failing scenario small: leaves out faults, then requests, as long as the same rule is still broken."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from tests.simulation.scenario import Scenario

Broken = Callable[[Scenario], frozenset[str]]
"""The rules that a scenario breaks."""


def shrunk(scenario: Scenario, broken: Broken, rules: frozenset[str]) -> Scenario:
    """A scenario that breaks one of `rules` and of which nothing more can be left out, one thing at a time."""
    smaller: Scenario | None = scenario
    while smaller is not None:
        scenario = smaller
        smaller = next((each for each in _smaller(scenario) if broken(each) & rules), None)
    return scenario


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    faults = {fault.number for fault in scenario.faults}
    asks = {ask.number for ask in scenario.asks}
    for fault in sorted(faults):
        yield scenario.keeping(None, faults - {fault})
    for ask in sorted(asks):
        if len(asks) > 1:
            yield scenario.keeping(asks - {ask}, None)
    if scenario.replicas:
        yield scenario.alone()
