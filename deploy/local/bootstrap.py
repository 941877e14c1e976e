"""Makes `.venv` and keeps it equal to the lock file: `python -m deploy.local.bootstrap`, from the repository's root.

Standard library only, because it runs before anything is installed. When nothing changed it returns within
milliseconds and prints nothing, so every `make` target can begin with it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from deploy.local.errors import SetupError
from deploy.local.machine import Machine
from deploy.local.progress import Steps

LOCK = "requirements-dev.lock"
FIRST_INSTALL_BYTES = 3 * 1024**3
VENV_PACKAGE = f"python{sys.version_info.major}.{sys.version_info.minor}-venv"


def lock_digest(root: Path) -> str:
    """Names what `.venv` must hold: the lock, and the project's own entry points."""
    content = b"".join((root / name).read_bytes() for name in (LOCK, "pyproject.toml"))
    return hashlib.sha256(content).hexdigest()


def check_disk(free_bytes: int) -> None:
    """Raises SetupError below 3 GB: a half-filled environment fails later and less clearly."""
    if free_bytes < FIRST_INSTALL_BYTES:
        raise SetupError(f"the disk has {free_bytes / 1e9:.1f} GB free; the first install needs 3 GB: free some space")


def check_venv_module(machine: Machine, *, present: bool) -> None:
    """Debian ships Python without `ensurepip`: install it where that is allowed, else say the line."""
    if not present:
        machine.install([VENV_PACKAGE], why=f"{VENV_PACKAGE} (Python's venv module) is missing")


def count_progress(output: Iterable[str], total: int, steps: Steps) -> list[str]:
    """Reads pip's output, notes each further tenth of `total` packages, and returns the last lines for a report."""
    seen, told = 0, 0
    tail: list[str] = []
    for line in output:
        tail = [*tail[-4:], line.rstrip()]
        if re.match(r"\s*(Collecting|Requirement already satisfied)", line):
            seen += 1
        if total and seen * 10 // total > told:
            told = seen * 10 // total
            steps.note(f"{min(seen, total)} of {total} packages")
        if line.startswith("Installing collected packages"):
            steps.note("unpacking")
    return tail


def pip(root: Path, steps: Steps, *arguments: str, total: int = 0) -> None:
    """Runs the environment's pip. Raises SetupError with pip's last error line."""
    python = root / ".venv" / "bin" / "python"
    command = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--no-deps", *arguments]
    with subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        tail = count_progress(process.stdout or (), total, steps)
    if process.returncode:
        reason = next((line for line in reversed(tail) if line.startswith("ERROR")), tail[-1] if tail else "no output")
        raise SetupError(f"pip failed: {reason} (to see all of it: {' '.join(command)})")


def bootstrap(root: Path, machine: Machine, steps: Steps) -> None:
    """Brings `.venv` up to the lock, by hash, from whatever index pip is set up for."""
    stamp = root / ".venv" / "daytwo-lock"
    digest = lock_digest(root)
    if stamp.exists() and stamp.read_text() == digest:
        return
    total = len(re.findall(r"^\S+==", (root / LOCK).read_text(), re.MULTILINE))
    steps.begin(f"Python packages: {total} from {LOCK}, into .venv")
    if not all((root / ".venv" / "bin" / name).exists() for name in ("python", "pip")):
        check_disk(shutil.disk_usage(root).free)
        check_venv_module(machine, present=importlib.util.find_spec("ensurepip") is not None)
        subprocess.run([sys.executable, "-m", "venv", "--clear", ".venv"], cwd=root, check=True)
    pip(root, steps, "--require-hashes", "-r", LOCK, total=total)
    pip(root, steps, "--quiet", "--no-build-isolation", "-e", ".")
    stamp.write_text(digest)


def main() -> int:
    try:
        bootstrap(Path.cwd(), Machine(Steps(1)), Steps(1))
    except (SetupError, OSError, subprocess.CalledProcessError) as error:
        sys.stderr.write(f"daytwo: {error}\n")
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
