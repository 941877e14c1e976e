import random
from pathlib import Path

import pytest

from deploy.local.broker import server_properties
from deploy.local.errors import SetupError
from deploy.local.ports import DEFAULTS, chosen_ports, free_ports
from deploy.local.programs import (
    PART_PROBES,
    Program,
    all_programs,
    cache_redis_conf,
    ledger_redis_conf,
    selected,
    service_names,
)
from deploy.local.settings import SERVICES, Settings, read_settings
from deploy.local.stack import describe
from deploy.local.supervision import render

ROOT = Path("/srv/daytwo")


def settings(**env: str) -> Settings:
    return read_settings({f"DAYTWO_{name.upper()}": value for name, value in env.items()}, ROOT, ROOT / ".venv/bin/python")


def programs_of(given: Settings) -> list[Program]:
    return all_programs(given, chosen_ports(service_names(given), {}))


def section(config: str, name: str) -> dict[str, str]:
    lines = config.partition(f"[program:{name}]\n")[2].partition("\n[")[0].splitlines()
    return dict(line.split(" = ", 1) for line in lines if line)


def test_each_service_is_a_process_of_its_own() -> None:
    services = [program for program in programs_of(settings()) if program.kind == "service"]

    assert [program.command[-1] for program in services] == [f"services.{module}" for module in SERVICES]
    assert services[1].name == "cost-meter-0"


def test_replicas_are_processes_with_their_own_name_and_port() -> None:
    caches = [program for program in programs_of(settings(replicas="cache=2")) if program.family == "cache"]

    assert [program.env["DAYTWO_INSTANCE"] for program in caches] == ["cache-0", "cache-1"]
    assert len({program.env["DAYTWO_HTTP_PORT"] for program in caches}) == 2


def test_on_a_small_machine_all_services_are_one_process() -> None:
    services = [program for program in programs_of(settings(one_process="1")) if program.kind == "service"]

    assert [(program.name, program.command[-1]) for program in services] == [("services", "services")]


def test_every_default_port_has_a_part_and_every_part_a_port() -> None:
    assert set(DEFAULTS) - {"kafka-controller"} == set(PART_PROBES)


def test_a_service_is_told_where_everything_is() -> None:
    env = programs_of(settings())[-1].env

    assert env["DAYTWO_KAFKA"] == "127.0.0.1:9092"
    assert env["DAYTWO_LEDGER_REDIS"] == "redis://127.0.0.1:6390/0"
    assert env["DAYTWO_CACHE_REDIS"] == "redis://127.0.0.1:6391/0"
    assert env["DAYTWO_MILVUS"] == "http://127.0.0.1:19530"
    assert env["DAYTWO_REGISTRY"] == "http://127.0.0.1:8081"


def test_only_selects_by_name_by_service_and_by_module() -> None:
    programs = programs_of(settings(replicas="cost_meter=2"))

    names = [program.name for program in selected(programs, frozenset({"kafka", "topics", "cost_meter"}))]

    assert names == ["kafka", "cost-meter-0", "cost-meter-1"]


def test_an_unknown_name_is_refused_with_the_known_ones() -> None:
    with pytest.raises(SetupError, match=r"names redis, which is none of: .*ledger-redis"):
        selected(programs_of(settings()), frozenset({"redis"}))


def test_a_program_that_keeps_dying_is_started_again_for_ever() -> None:
    config = render(settings(), programs_of(settings()))

    ingest = section(config, "ingest-0")
    assert ingest["autorestart"] == "true"
    assert int(ingest["startretries"]) >= 1000
    assert (ingest["stopsignal"], ingest["stopwaitsecs"]) == ("TERM", "15")


def test_services_stop_before_the_parts_they_need() -> None:
    config = render(settings(), programs_of(settings()))

    assert int(section(config, "ingest-0")["priority"]) > int(section(config, "kafka")["priority"])


def test_a_per_cent_sign_in_the_state_folders_path_survives_supervisord() -> None:
    given = settings(state="/srv/a%b c")

    config = render(given, programs_of(given))

    assert "logfile = /srv/a%%b c/supervisord.log" in config
    assert section(config, "ingest-0")["stdout_logfile"] == "/srv/a%%%%b c/logs/ingest-0.log"


def test_the_ledger_writes_every_answer_to_disk_and_evicts_nothing() -> None:
    conf = ledger_redis_conf(Path("/srv/ledger"), 6390).splitlines()

    assert {"port 6390", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(conf)


def test_the_cache_has_an_end_and_evicts_what_is_least_used() -> None:
    conf = cache_redis_conf(Path("/srv/cache"), 6391).splitlines()

    assert {"appendonly no", "maxmemory 256mb", "maxmemory-policy allkeys-lru"} <= set(conf)


def test_the_broker_listens_only_on_this_machine_and_creates_no_topic_by_itself() -> None:
    lines = server_properties(Path("/srv/kafka"), 9092, 9093).splitlines()

    assert "listeners=PLAINTEXT://127.0.0.1:9092,CONTROLLER://127.0.0.1:9093" in lines
    assert "auto.create.topics.enable=false" in lines


def test_the_stack_file_says_where_everything_is() -> None:
    given = settings()
    names = [*DEFAULTS, *(name for name, _, _ in service_names(given))]
    ports = free_ports(names, {}, lambda _: True, random.Random(7))
    programs = all_programs(given, ports)

    stack = describe(given, ports, programs)

    assert stack["kafka"] == f"127.0.0.1:{ports['kafka']}"
    assert stack["model"] == f"http://127.0.0.1:{ports['model']}/v1"
    assert stack["supervisor"] == f"unix://{given.socket}"
    by_name = {program["name"]: program for program in stack["programs"]}
    assert by_name["kafka"]["http"] is None
    assert by_name["ingest-0"] == {
        "name": "ingest-0",
        "kind": "service",
        "http": f"http://127.0.0.1:{ports['ingest-0']}",
        "log": "/srv/daytwo/.daytwo/logs/ingest-0.log",
    }
