"""docker-compose.yml is the same system as the local stack. There is no engine here: it is read, not run."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.local.broker import POM_FOLDER, SETTINGS
from deploy.local.ports import chosen_ports
from deploy.local.programs import Program, all_programs, cache_redis_conf, ledger_redis_conf, service_names
from deploy.local.settings import read_settings

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    return services


def ours() -> list[Program]:
    """The programs of ours in the local stack."""
    settings = read_settings({}, ROOT, Path(sys.executable))
    programs = all_programs(settings, chosen_ports(service_names(settings), {}))
    return [program for program in programs if program.http]


def test_it_follows_the_compose_specification() -> None:
    command = ["check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(ROOT / "docker-compose.yml")]
    program = str(Path(sys.executable).with_name(command[0]))

    result = subprocess.run([program, *command[1:]], capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("program", ours(), ids=lambda program: program.family)
def test_each_program_of_ours_runs_there_with_the_same_settings(program: Program, services: dict[str, Any]) -> None:
    service = services[program.family]

    assert service["command"] == ["python", *program.command[1:]]
    settings = {name for name in program.env if name.startswith("DAYTWO_")}
    assert settings <= service["environment"].keys()
    for name in ("DAYTWO_INSTANCE", "DAYTWO_HTTP_PORT"):
        assert str(service["environment"][name]) == program.env[name]


def test_topics_are_created_before_any_service_starts(services: dict[str, Any]) -> None:
    assert services["topics"]["command"] == ["python", "-m", "daytwo.provision"]
    for program in ours():
        if program.kind == "service":
            assert services[program.family]["depends_on"]["topics"]["condition"] == "service_completed_successfully"


def test_whoever_waits_for_health_waits_for_something_that_tells_it(services: dict[str, Any]) -> None:
    for name, service in services.items():
        for needed, rule in service.get("depends_on", {}).items():
            if rule["condition"] == "service_healthy":
                assert "test" in services[needed]["healthcheck"], f"{name} waits for {needed}"


def test_settings_point_at_services_that_exist(services: dict[str, Any]) -> None:
    for name, value in services["ingest"]["environment"].items():
        host = re.fullmatch(r"(?:\w+://)?([a-z-]+):\d+(?:/\d+)?", str(value))
        if name not in {"DAYTWO_INSTANCE", "DAYTWO_HTTP_PORT", "DAYTWO_STATE", "DAYTWO_HOST"}:
            assert host is not None, f"{name}={value}"
            assert host[1] in services, f"{name}={value}"


def test_the_broker_has_the_same_version_and_settings(services: dict[str, Any]) -> None:
    version = re.search(r"<artifactId>kafka_2.13</artifactId>\s*<version>(.+)</version>", (POM_FOLDER / "pom.xml").read_text())
    assert version is not None
    assert services["kafka"]["image"] == f"apache/kafka:{version[1]}"
    environment = services["kafka"]["environment"]
    for setting in ("auto.create.topics.enable", "group.initial.rebalance.delay.ms", "message.max.bytes"):
        assert str(environment["KAFKA_" + setting.upper().replace(".", "_")]) == SETTINGS[setting]


@pytest.mark.parametrize(("name", "conf"), [("ledger-redis", ledger_redis_conf), ("cache-redis", cache_redis_conf)])
def test_both_redis_servers_keep_the_same_promises(name: str, conf: Any, services: dict[str, Any]) -> None:
    command = " ".join(services[name]["command"])

    for line in conf(Path("/data"), 6379).splitlines():
        if line.startswith(("append", "maxmemory")):
            assert f"--{line}" in command


def test_ports_are_published_on_this_machine_only(services: dict[str, Any]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]

    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_prometheus_scrapes_every_service_where_it_listens(services: dict[str, Any]) -> None:
    config = yaml.safe_load((ROOT / "deploy/prometheus/prometheus.yml").read_text())
    targets = set(config["scrape_configs"][0]["static_configs"][0]["targets"])

    wanted = {f"{program.family}:{program.port}" for program in ours() if program.kind == "service"}
    assert targets == wanted


@pytest.mark.parametrize("name", ["road", "money"])
def test_the_dashboards_read_the_provisioned_datasource(name: str) -> None:
    folder = ROOT / "deploy/grafana"
    source = yaml.safe_load((folder / "provisioning/datasources/prometheus.yml").read_text())["datasources"][0]
    dashboard = json.loads((folder / f"dashboards/{name}.json").read_text())

    assert dashboard["title"].lower() == name
    assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
