import io
from pathlib import Path

import pytest

from deploy.local.bootstrap import LOCK, bootstrap, check_disk, check_venv_module, count_progress, lock_digest
from deploy.local.errors import SetupError
from deploy.local.progress import Steps
from tests.deploy.test_machine import FakeMachine


def test_progress_is_told_for_each_further_tenth_of_the_packages() -> None:
    told = io.StringIO()
    output = ["Collecting a==1\n", "  Downloading a\n"] * 20 + ["Installing collected packages: a\n"]

    tail = count_progress(output, 20, Steps(1, told))

    assert told.getvalue().split() == [*" ".join(f"{n} of 20 packages" for n in range(2, 21, 2)).split(), "unpacking"]
    assert tail[-1] == "Installing collected packages: a"


def test_too_little_disk_is_said_before_anything_is_installed() -> None:
    check_disk(3 * 1024**3)
    with pytest.raises(SetupError, match=r"1\.0 GB free; the first install needs 3 GB"):
        check_disk(10**9)


def test_a_python_without_its_venv_module_gets_the_line_to_type() -> None:
    machine = FakeMachine("apt-get").machine(uid=1000)

    check_venv_module(machine, present=True)
    with pytest.raises(SetupError, match=r"apt-get install .*python3\.\d+-venv"):
        check_venv_module(machine, present=False)


def test_an_environment_that_equals_the_lock_is_left_alone_in_silence(tmp_path: Path) -> None:
    told = io.StringIO()
    (tmp_path / LOCK).write_text("a==1 \\\n")
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "daytwo-lock").write_text(lock_digest(tmp_path))

    bootstrap(tmp_path, FakeMachine().machine(), Steps(1, told))

    assert told.getvalue() == ""


def test_another_lock_is_another_environment(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / LOCK).write_text("a==1")
    before = lock_digest(tmp_path)
    (tmp_path / LOCK).write_text("a==2")

    assert lock_digest(tmp_path) != before
