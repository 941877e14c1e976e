"""Rules and dashboards: what they ask for is there, and they say what they should."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml
from prometheus_client.core import Metric

from daytwo.clock import SystemClock
from daytwo.memory import MemoryBroker
from daytwo.metrics import Metrics
from services.alerter.service import service
from services.usage_windows.metrics import GAUGES, WindowsCollector

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy/prometheus"
TYPES = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "gauge": ("",)}
LABELS = {"daytwo_alerts": {"kind", "severity"}, "daytwo_cap_used_ratio": {"tenant", "period", "unit"}}
"""Of gauges that have no sample before there is something to tell."""


def expressions() -> list[str]:
    groups = [group for file in PROMETHEUS.glob("rules/*.yml") for group in yaml.safe_load(file.read_text())["groups"]]
    rules = [rule["expr"] for group in groups for rule in group["rules"]]
    dashboards = [json.loads(file.read_text()) for file in (ROOT / "deploy/grafana/dashboards").glob("*.json")]
    return [*rules, *(target["expr"] for board in dashboards for panel in board["panels"] for target in panel["targets"])]


def families() -> Iterable[Metric]:
    yield from Metrics().registry.collect()
    yield from WindowsCollector(lambda: dict.fromkeys((*GAUGES, "throttles_published"), 0)).collect()
    clock = SystemClock()
    for collector in service(clock=clock, sender=MemoryBroker(clock).sender()).collectors:
        yield from collector.collect()


def names() -> set[str]:
    return {family.name + ending for family in families() for ending in TYPES[family.type]}


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_that_is_asked_for_exists(expression: str) -> None:
    asked = set(re.findall(r"daytwo_\w+", expression))

    assert asked <= names(), asked - names()


@pytest.mark.parametrize("expression", [text for text in expressions() if "daytwo_" in text])
def test_every_label_that_is_asked_for_exists(expression: str) -> None:
    metrics = Metrics()
    declared = {collector._name: set(collector._labelnames) for collector in vars(metrics).values() if hasattr(collector, "_labelnames")}
    known = {"le", *(label for labels in (*declared.values(), *LABELS.values()) for label in labels)}
    of_metric = {name: labels for name, labels in (declared | LABELS).items() if name in expression}
    asked = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
    asked |= set(re.findall(r"[{,]\s*(\w+)=", expression))

    assert asked <= known
    assert all(asked - {"le"} <= labels for labels in of_metric.values()), (asked, of_metric)


def test_promtool_finds_the_rules_to_say_what_their_tests_say() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here (Debian: apt-get install prometheus): the rules were NOT tested")
    for arguments in (("check", "config", "deploy/prometheus/prometheus.yml"), ("test", "rules", "tests/deploy/money.test.yml")):
        done = subprocess.run([promtool, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)

        assert done.returncode == 0, done.stdout + done.stderr
