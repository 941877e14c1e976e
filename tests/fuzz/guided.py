"""Coverage-guided fuzzing of one target with atheris (libFuzzer for Python). Runs until its time is up, or until a finding."""

from __future__ import annotations

import hashlib
import logging
import sys
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import atheris

from tests.fuzz.mutation import mutate

if TYPE_CHECKING:
    from tests.fuzz.targets import Target

STATE = Path(".daytwo-fuzz")
_INSTRUMENTED = ["daytwo", "services", "yaml", "email", "fastavro", "markdownify", "bs4"]


def fuzz(name: str, seconds: int, seed: int) -> None:
    """Does not return: libFuzzer ends the process, with exit code 0 where nothing was found."""
    logging.disable(logging.CRITICAL)
    with atheris.instrument_imports(include=_INSTRUMENTED):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus, seeds = _corpus(name, target)
    found = STATE / "found"
    found.mkdir(parents=True, exist_ok=True)

    def one(data: bytes) -> None:
        try:
            target.run(data)
        except BaseException:
            path = found / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
            path.write_bytes(data)
            sys.stderr.write(f"FINDING; replay: .venv/bin/python -m tests.fuzz replay {name} {path}\n")
            raise

    def mutated(data: bytes, most: int, number: int) -> bytes:
        rng = Random(number)
        changed = bytes(atheris.Mutate(data, most)) if rng.random() < 0.5 else mutate(data, rng, seeds)
        return changed[:most]

    limits = [f"-max_total_time={seconds}", f"-seed={seed}", "-max_len=100000", "-timeout=30", "-rss_limit_mb=3000", "-print_final_stats=1"]
    atheris.Setup([name, str(corpus), *limits, f"-artifact_prefix={found}/{name}-"], one, custom_mutator=mutated)
    atheris.Fuzz()


def _corpus(name: str, target: Target) -> tuple[Path, list[bytes]]:
    """The folder libFuzzer starts from and adds to; it outlives the run."""
    folder = STATE / "corpus" / name
    folder.mkdir(parents=True, exist_ok=True)
    seeds = list(target.seeds())
    for number, seed in enumerate(seeds):
        (folder / f"seed-{number}").write_bytes(seed)
    return folder, seeds
