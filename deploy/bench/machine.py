"""What was measured on, without a date: hardware and versions."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import version
from pathlib import Path

import psutil

from deploy.local import broker

PACKAGES = ("aiokafka", "fastavro", "uvloop", "aiohttp", "redis", "pymilvus", "milvus-lite", "usearch", "wordllama")


def describe(cache: Path) -> dict[str, str]:
    return {
        "processor": _processor(),
        "cores": str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "kafka": _kafka(cache),
        "java": _first_line("java", "-version"),
        "redis": _first_line("redis-server", "--version"),
        **{name: version(name) for name in PACKAGES},
    }


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return found[1] if found else platform.processor() or "unknown"


def _kafka(cache: Path) -> str:
    jars = broker.jars_folder(cache)
    found = [re.search(r"kafka_2\.\d+-([\d.]+)\.jar", jar.name) for jar in jars.glob("kafka_2*.jar")]
    return next((match[1] for match in found if match), "unknown")


def _first_line(*command: str) -> str:
    """The number of a version; what else a program says may name the build, or the day."""
    result = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    found = re.search(r"(?:v=|version \")([\d.]+)", result.stdout)
    return found[1] if found else "unknown"
