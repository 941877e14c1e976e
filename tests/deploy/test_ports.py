import random
import socket

import pytest

from deploy.local.errors import SetupError
from deploy.local.ports import (
    DEFAULTS,
    FREE_RANGE,
    SERVICES_FROM,
    check_free,
    chosen_ports,
    free_ports,
    is_free,
    variable,
)

ROAD = [("ingest-0", 0, 0), ("ingest-1", 0, 1), ("cost-meter-0", 1, 0)]


def test_without_settings_each_program_gets_its_default() -> None:
    ports = chosen_ports(ROAD, {})

    assert ports["kafka"] == 9092
    assert ports["ingest-0"] == SERVICES_FROM
    assert ports["cost-meter-0"] == SERVICES_FROM + 1


def test_another_replica_moves_no_other_program() -> None:
    assert chosen_ports(ROAD, {})["ingest-1"] == SERVICES_FROM + 10


def test_an_offset_moves_all_ports_but_those_set_by_name() -> None:
    ports = chosen_ports(ROAD, {"DAYTWO_PORT_OFFSET": "1000", "DAYTWO_PORT_KAFKA": "9999"})

    assert ports["kafka"] == 9999
    assert ports["registry"] == DEFAULTS["registry"] + 1000
    assert ports["ingest-0"] == SERVICES_FROM + 1000


@pytest.mark.parametrize(
    ("env", "words"),
    [
        ({"DAYTWO_PORT_KAFKA": "x"}, "DAYTWO_PORT_KAFKA=x is not a number"),
        ({"DAYTWO_PORT_KAFKA": "80"}, "kafka would get port 80"),
        ({"DAYTWO_PORT_OFFSET": "60000"}, "not within 1024..65535"),
        ({"DAYTWO_PORT_MILVUS": "9092"}, "kafka and milvus would both get port 9092"),
    ],
)
def test_a_port_that_cannot_be_is_one_clear_line(env: dict[str, str], words: str) -> None:
    with pytest.raises(SetupError, match=words) as error:
        chosen_ports(ROAD, env)

    assert "\n" not in str(error.value)


def test_a_taken_port_names_the_port_who_needs_it_and_the_setting() -> None:
    with pytest.raises(SetupError) as error:
        check_free({"ledger-redis": 6390, "kafka": 9092}, lambda port: port != 9092)

    for word in ("9092", "kafka", "DAYTWO_PORT_KAFKA", "DAYTWO_PORT_OFFSET"):
        assert word in str(error.value)


def test_a_services_port_is_moved_with_its_neighbours() -> None:
    assert variable("cost-meter-0") == "DAYTWO_PORT_SERVICES"
    assert variable("kafka-controller") == "DAYTWO_PORT_KAFKA_CONTROLLER"


def test_free_ports_are_all_different_and_below_the_range_of_outgoing_connections() -> None:
    ports = free_ports((f"program-{n}" for n in range(500)), {}, lambda _: True, random.Random(7))

    assert len(set(ports.values())) == 500
    assert all(port in FREE_RANGE for port in ports.values())


def test_a_free_port_once_picked_is_kept_until_somebody_takes_it() -> None:
    kept = {"kafka": 20_001, "milvus": 20_002}

    ports = free_ports(["kafka", "milvus", "registry"], kept, lambda port: port != 20_002, random.Random(7))

    assert ports["kafka"] == 20_001
    assert ports["milvus"] != 20_002


def test_a_port_that_a_server_holds_is_not_free() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]

        assert not is_free(port)
    assert is_free(port)
