import io
import subprocess
from collections.abc import Mapping, Sequence

import pytest

from deploy.local.errors import SetupError
from deploy.local.machine import JAVA, MAVEN, REDIS, Machine
from deploy.local.progress import Steps

VERSIONS = {
    "java": 'openjdk version "17.0.15" 2025-04-15',
    "mvn": "Apache Maven 3.8.7",
    "redis-server": "Redis server v=7.0.15 sha=00000000:0",
}


class FakeMachine:
    """Has some programs; apt-get installs what is asked for, unless `apt_fails`. Writes down what was run."""

    def __init__(self, *programs: str, versions: Mapping[str, str] = VERSIONS, apt_fails: bool = False) -> None:
        self.programs = set(programs)
        self.versions = versions
        self.apt_fails = apt_fails
        self.libraries: set[str] = set()
        self.ran: list[str] = []
        self.told = io.StringIO()

    def which(self, program: str) -> str | None:
        return f"/usr/bin/{program}" if program in self.programs else None

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        self.ran.append(" ".join(command))
        if command[0] in self.versions:
            return subprocess.CompletedProcess(command, 0, self.versions[command[0]])
        if "install" in command and self.apt_fails:
            return subprocess.CompletedProcess(command, 100, "Reading package lists...\nE: Unable to locate package")
        return subprocess.CompletedProcess(command, 0, "")

    def machine(self, uid: int = 0) -> Machine:
        return Machine(Steps(1, self.told), self.which, self.run, self.libraries.__contains__, uid)


def test_a_machine_that_has_everything_installs_nothing() -> None:
    fake = FakeMachine("java", "mvn", "redis-server", "apt-get")

    fake.machine().ensure([JAVA, MAVEN, REDIS])

    assert not any("apt-get" in line for line in fake.ran)


def test_root_on_debian_installs_what_is_missing_and_says_so() -> None:
    fake = FakeMachine("java", "apt-get")

    fake.machine().ensure([JAVA, MAVEN, REDIS])

    assert "apt-get update -qq" in fake.ran
    assert "apt-get install -y --no-install-recommends maven redis-server" in fake.ran
    assert "installing maven redis-server with apt" in fake.told.getvalue()


def test_a_user_with_passwordless_sudo_installs_through_it() -> None:
    fake = FakeMachine("java", "redis-server", "apt-get", "sudo")

    fake.machine(uid=1000).ensure([JAVA, MAVEN, REDIS])

    assert "sudo -n apt-get install -y --no-install-recommends maven" in fake.ran


def test_a_user_without_sudo_gets_the_one_line_to_type() -> None:
    fake = FakeMachine("java", "mvn", "apt-get")

    with pytest.raises(SetupError) as error:
        fake.machine(uid=1000).ensure([JAVA, MAVEN, REDIS])

    assert "redis-server (for the ledger and the cache) missing" in str(error.value)
    assert "sudo apt-get install -y --no-install-recommends redis-server" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_machine_without_apt_is_told_what_to_install() -> None:
    with pytest.raises(SetupError, match=r"java .* missing: install it with your system's package manager"):
        FakeMachine("mvn", "redis-server").machine().ensure([JAVA, MAVEN, REDIS])


def test_a_missing_shared_library_is_installed_by_its_package() -> None:
    fake = FakeMachine("apt-get")

    fake.machine().ensure_library("libgomp.so.1", apt_package="libgomp1", needed_for="the local model")

    assert "apt-get install -y --no-install-recommends libgomp1" in fake.ran


def test_a_shared_library_that_loads_is_left_alone() -> None:
    fake = FakeMachine("apt-get")
    fake.libraries.add("libgomp.so.1")

    fake.machine().ensure_library("libgomp.so.1", apt_package="libgomp1", needed_for="the local model")

    assert fake.ran == []


def test_a_failing_apt_is_one_line_with_its_last_word() -> None:
    with pytest.raises(SetupError, match="failed: E: Unable to locate package"):
        FakeMachine("apt-get", apt_fails=True).machine().ensure([REDIS])


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ('openjdk version "11.0.2"', "java 11 is too old, Kafka needs 17"),
        ('java version "1.8.0_312"', "java 1 is too old, Kafka needs 17"),
        ("Unable to locate a Java Runtime.", "does not tell a version"),
    ],
)
def test_a_java_that_kafka_cannot_use_is_named(output: str, words: str) -> None:
    with pytest.raises(SetupError, match=words):
        FakeMachine("java", versions={"java": output}).machine().ensure([JAVA])
