"""What documents say about the code is what the code says: examples, reason codes, metrics, settings, commands, topics."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from daytwo.cli import COMMANDS
from daytwo.metrics import Metrics
from daytwo.reasons import REASONS
from daytwo.results import outcome_of
from daytwo.topics import TOPICS
from deploy.local.ports import DEFAULTS, variable
from tests.docs.pages import ROOT, blocks, commands, pages, rows, section, spans

VARIABLE: Final = re.compile(r"\bDAYTWO_[A-Z_]*[A-Z]\b")
SETTINGS: Final = ("services/**/*.py", "libs/daytwo/**/*.py", "deploy/local/*.py", "docker-compose.yml")
ELSEWHERE: Final = ("examples/*", "tests/**/*.py", "deploy/**/*.py")

each_page = pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))


def read(name: str) -> str:
    return (ROOT / name).read_text()


def variables(*places: str) -> set[str]:
    """Settings that files name. A name that is put together at run time is not found, but its docstring may have it whole."""
    return {name for place in places for path in ROOT.glob(place) if path.is_file() for name in VARIABLE.findall(_text(path))}


def _text(path: Path) -> str:
    return "" if path.suffix == ".pyc" else path.read_text()


def settings() -> set[str]:
    """Every setting of services, library and local stack."""
    return variables(*SETTINGS) | {variable(name) for name in (*DEFAULTS, "ingest-0")}


def test_the_readmes_examples_are_the_files_in_examples() -> None:
    python = [block for block in blocks(read("README.md")) if block.language == "python"]
    shown = {match[0]: block.text for block in python for match in [re.findall(r"\((examples/[^)]+)\)", block.introduction)] if match}

    assert len(shown) == len(python)
    assert shown == {f"examples/{path.name}": path.read_text() for path in (ROOT / "examples").glob("*.py")}


def test_the_table_of_reason_codes_is_that_of_the_code() -> None:
    table = rows(section(read("docs/concepts.md"), "## Reason codes"))

    assert table == [[f"`{code}`", "answered" if code == "ok" else outcome_of(code), meaning] for code, meaning in REASONS.items()]


def test_every_metric_is_explained_and_no_other() -> None:
    table = rows(section(read("docs/operations.md"), "## Metrics"))
    families = list(Metrics().registry.collect())

    assert {row[0] for row in table} == {f"`{family.name}{'_total' if family.type == 'counter' else ''}`" for family in families}


def test_the_labels_of_each_metric_are_those_of_the_code() -> None:
    metrics = [value for value in vars(Metrics()).values() if hasattr(value, "_labelnames")]
    table = {row[0].strip("`").removesuffix("_total"): row[1] for row in rows(section(read("docs/operations.md"), "## Metrics"))}

    assert table == {metric._name: ", ".join(metric._labelnames) for metric in metrics}


def test_every_setting_is_explained_in_operations() -> None:
    explained = {name for row in rows(section(read("docs/operations.md"), "## Settings")) for name in VARIABLE.findall(row[0])}

    assert settings() - explained == set()
    assert explained - settings() == set()


def test_a_setting_is_found_in_the_code_and_a_prefix_is_not_taken_for_one() -> None:
    assert {"DAYTWO_KAFKA", "DAYTWO_ROUTER_BACK_OFF_MS", "DAYTWO_PORT_MOCK_PROVIDER", "DAYTWO_PORT_SERVICES"} <= settings()
    assert VARIABLE.findall('f"DAYTWO_ROUTER_{name}" DAYTWO_HOST=1') == ["DAYTWO_HOST"]


@each_page
def test_no_document_names_a_setting_that_does_not_exist(page: Path) -> None:
    assert set(VARIABLE.findall(page.read_text())) - settings() - variables(*ELSEWHERE) == set()


@each_page
def test_every_command_a_document_names_exists(page: Path) -> None:
    typed = "\n".join(commands(page.read_text()))
    targets = set(re.findall(r"^([a-z]+):", read("Makefile"), re.MULTILINE))

    assert set(re.findall(r"\bdaytwo ([a-z][a-z-]*)", typed)) - set(COMMANDS) == set()
    assert set(re.findall(r"\bmake ([a-z]+)", typed)) - targets == set()


@each_page
def test_every_topic_a_document_names_is_declared(page: Path) -> None:
    declared = {topic.name for topic in TOPICS}
    subjects, events = ({name.split("-")[part] for name in declared} for part in (0, 1))
    named = {name for name in spans(page.read_text()) if re.fullmatch(rf"(?:{'|'.join(subjects)})-(?:{'|'.join(events)})", name)}

    assert named - declared == set()


def test_the_picture_of_the_road_names_topics_that_are_declared() -> None:
    picture = next(block.text for block in blocks(read("README.md")) if block.language == "")

    assert set(re.findall(r"\b(?:request|attempt)-\w+", picture)) == {t.name for t in TOPICS if t.name.startswith(("request-", "attempt-"))}
