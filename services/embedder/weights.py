"""Where installed packages keep their model files, and which version of the weights that is."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

from daytwo.errors import RetryableError


def packaged(package: str, *path: str) -> Path:
    """A file inside an installed package, found without importing it. Raises RetryableError where it is missing."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise RetryableError("store_unavailable", f"the Python package {package}, which carries an embedding model, is not installed")
    file = Path(spec.origin).parent.joinpath(*path)
    if not file.is_file():
        raise RetryableError("store_unavailable", f"the Python package {package} has no {'/'.join(path)}")
    return file


def version(*files: Path) -> str:
    """12 hex digits of SHA-256 over the files: other weights or another tokenizer, another version."""
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]
