"""A real Prometheus that scrapes the running services: every rule can be evaluated, and no panel is empty."""

from __future__ import annotations

import asyncio
import json
import shutil
import socket
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from daytwo.broker import Outgoing, outgoing
from daytwo.records import CachePolicy, Cap, TenantConfigured
from tests.stack import ROOT
from tests.system.road import request, road

pytestmark = [pytest.mark.stack, pytest.mark.system]

PATIENCE_S = 120.0


def panels() -> list[tuple[str, str]]:
    boards = [json.loads(file.read_text()) for file in (ROOT / "deploy/grafana/dashboards").glob("*.json")]
    return [(panel["title"], target["expr"]) for board in boards for panel in board["panels"] for target in panel["targets"]]


def written(stack: Mapping[str, Any], folder: Path) -> Path:
    """The configuration that is shipped, with the addresses of this stack, each under the name it has there."""
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    config["global"]["scrape_interval"] = config["global"]["evaluation_interval"] = "1s"
    config["rule_files"] = [str(ROOT / "deploy/prometheus" / name) for name in config["rule_files"]]
    (job,) = config["scrape_configs"]
    named = {target.split(":")[0]: target for target in job["static_configs"][0]["targets"]}
    here = [(program["name"].rsplit("-", 1)[0], program["http"]) for program in stack["programs"] if program["http"]]
    job["static_configs"] = [
        {"targets": [where.removeprefix("http://")], "labels": {"instance": named[name]}} for name, where in here if name in named
    ]
    assert {name for name, _ in here} >= named.keys()
    path = folder / "prometheus.yml"
    path.write_text(yaml.safe_dump(config))
    return path


class Prometheus:
    def __init__(self, address: str, session: aiohttp.ClientSession) -> None:
        self._address = address
        self._session = session

    async def get(self, path: str, **query: str) -> Any:
        async with self._session.get(f"{self._address}/api/v1/{path}", params=query) as answer:
            found = await answer.json()
        assert found["status"] == "success", found
        return found["data"]

    async def ask(self, expression: str) -> list[Any]:
        found: list[Any] = (await self.get("query", query=expression))["result"]
        return found

    async def until_there(self) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                try:
                    await self.get("query", query="up")
                    return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)


@pytest.fixture
def address(daytwo: dict[str, Any], tmp_path: Path) -> Iterator[str]:
    """Of a Prometheus that scrapes the running services."""
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not here (Debian: apt-get install prometheus): rules and dashboards were NOT asked of a real one")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = f"127.0.0.1:{free.getsockname()[1]}"
    config, data = written(daytwo, tmp_path), tmp_path / "tsdb"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={data}", f"--web.listen-address={where}"]
    with (tmp_path / "prometheus.log").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    yield f"http://{where}"
    process.terminate()
    process.wait(20)


async def traffic(stack: Mapping[str, Any]) -> None:
    """Something for every panel: answers, a repeat from the cache, a cap that is used up, a dead letter."""
    caps = (Cap(scope="tenant", period="total", limit_nano=1_000),)
    async with road(stack) as opened:
        await opened.send(outgoing(TenantConfigured(tenant="watched", caps=caps, over_budget="refuse", cache=CachePolicy(enabled=False))))
        await opened.send(outgoing(TenantConfigured(tenant="watching")))
        await asyncio.sleep(1)
        for _ in range(3):
            await opened.answer(request("watching", "What is a gauge?", max_tokens=20))
            await opened.answer(request("watched", "What is a counter?", max_tokens=20))
            await opened.send(Outgoing(topic="request-submitted", key=b"watching/x", value=b"no record"))
            await asyncio.sleep(1)


async def test_every_rule_can_be_evaluated_and_no_panel_of_a_dashboard_is_empty(daytwo: dict[str, Any], address: str) -> None:
    async with aiohttp.ClientSession() as session:
        there, empty = Prometheus(address, session), panels()
        await there.until_there()
        async with asyncio.timeout(PATIENCE_S):
            while empty:
                await traffic(daytwo)
                empty = [(title, expression) for title, expression in panels() if not await there.ask(expression)]
        rules = [rule for group in (await there.get("rules"))["groups"] for rule in group["rules"]]
        up = await there.ask("up")

    assert rules
    assert {rule["health"] for rule in rules} == {"ok"}
    assert {sample["value"][1] for sample in up} == {"1"}
