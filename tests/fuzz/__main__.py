"""`python -m tests.fuzz guided|replay|ingest|targets`; see docs/fuzzing.md. `make fuzz` and `make fuzz-ingest` are the doors."""

from __future__ import annotations

import argparse
import asyncio
import logging
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

ATHERIS = "atheris>=3.0,<4"
MOST_GROWN_MIB = 256
"""A run holds a chunk's records, some of many megabytes; more than this between chunks would be a leak."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    guided = commands.add_parser("guided", help="fuzz targets with atheris, one after another")
    guided.add_argument("targets", nargs="*", help="none: all of them")
    guided.add_argument("--seconds", type=int, default=60, help="for each")
    guided.add_argument("--seed", type=int, default=1)
    replay = commands.add_parser("replay", help="run one input")
    replay.add_argument("target")
    replay.add_argument("file", type=Path)
    flood = commands.add_parser("ingest", help="send mutated records through the real ingest")
    flood.add_argument("--records", type=int, default=1_000_000)
    flood.add_argument("--from", dest="first", type=int, default=0)
    flood.add_argument("--seed", type=int, default=1)
    commands.add_parser("targets", help="list the targets")
    given = parser.parse_args(arguments)
    if given.command == "guided":
        return _guided(given.targets, given.seconds, given.seed)
    if given.command == "ingest":
        return _ingest(given.seed, range(given.first, given.first + given.records))
    return _replay(given.target, given.file) if given.command == "replay" else _list()


def _guided(targets: Sequence[str], seconds: int, seed: int) -> int:
    if not _atheris_is_there():
        sys.stdout.write(f"SKIPPED: {ATHERIS} is not to be had for this Python; `make unit` tries the same targets with Hypothesis\n")
        return 0
    if len(targets) == 1:
        from tests.fuzz.guided import fuzz

        fuzz(targets[0], seconds, seed)
    from tests.fuzz.targets import TARGETS

    codes = [_alone(name, seconds, seed) for name in targets or TARGETS]
    return int(any(codes))


def _alone(target: str, seconds: int, seed: int) -> int:
    """libFuzzer ends the process it runs in."""
    sys.stdout.write(f"== {target}\n")
    sys.stdout.flush()
    command = [sys.executable, "-m", "tests.fuzz", "guided", target, "--seconds", str(seconds), "--seed", str(seed)]
    return subprocess.run(command, check=False).returncode


def _atheris_is_there() -> bool:
    if find_spec("atheris") is not None:
        return True
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", ATHERIS]
    return subprocess.run(install, check=False, stderr=subprocess.DEVNULL).returncode == 0


def _replay(target: str, file: Path) -> int:
    from tests.fuzz.targets import TARGETS

    TARGETS[target].run(file.read_bytes())
    sys.stdout.write(f"{target}: {file} does no harm\n")
    return 0


def _ingest(seed: int, numbers: range) -> int:
    from tests.fuzz.ingest import flood, report, tell

    logging.disable(logging.CRITICAL)
    account = asyncio.run(flood(seed, numbers, tell))
    sys.stdout.write("\n" + "\n".join(report(account, seed)) + "\n")
    grown = account.grown()
    if grown > MOST_GROWN_MIB:
        sys.stdout.write(f"FINDING memory grew by {grown} MiB\n")
    return int(bool(account.findings) or grown > MOST_GROWN_MIB or account.records != len(numbers))


def _list() -> int:
    from tests.fuzz.targets import TARGETS

    sys.stdout.write("\n".join(TARGETS) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
