"""The models themselves, from the installed packages; no network."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from daytwo.errors import RetryableError
from services.embedder.minilm_model import MiniLm
from services.embedder.ports import Model
from services.embedder.weights import packaged, version
from services.embedder.windows import embed_texts
from services.embedder.wordllama_model import WordLlama

RESET = "How do I reset my password?"
TEXTS = [RESET, "I forgot my password, what now?", "Which wine goes with fish?", "a", "Zürich 東京 🙂", "word " * 400]


@cache
def loaded(model: type[WordLlama] | type[MiniLm]) -> Model:
    return model()


@pytest.fixture(params=[WordLlama, MiniLm])
def model(request: pytest.FixtureRequest) -> Model:
    return loaded(request.param)


def embed(model: Model, *texts: str) -> np.ndarray:
    found = embed_texts(model, texts, max_windows=64)
    return np.array([np.frombuffer(each, "<f4") for each in found if isinstance(each, bytes)])


def test_vectors_have_the_model_s_dimension_and_length_one(model: Model) -> None:
    vectors = embed(model, *TEXTS)

    assert vectors.shape == (len(TEXTS), model.dimension)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)


def test_a_text_has_the_same_vector_alone_and_in_any_batch(model: Model) -> None:
    alone = np.concatenate([embed(model, text) for text in TEXTS])
    turned = embed(model, *reversed(TEXTS))[::-1]

    assert np.abs(alone - embed(model, *TEXTS)).max() <= 1e-5
    assert np.abs(alone - turned).max() <= 1e-5


def test_what_means_the_same_is_nearer(model: Model) -> None:
    same, alike, different = embed(model, *TEXTS[:3]) @ embed(model, RESET)[0]

    assert same == pytest.approx(1, abs=1e-5)
    assert same > alike > different + 0.2


def test_the_end_of_a_long_text_counts(model: Model) -> None:
    filler = "The weather was the weather. " * 300

    end, other_end, start = embed(model, filler + "Reset passwords. " * 20, filler + "Wine and fish. " * 20, filler)

    assert end @ start < 0.9999
    assert end @ embed(model, RESET)[0] > other_end @ embed(model, RESET)[0]


def test_tokens_are_never_cut_nor_padded(model: Model) -> None:
    short, long = model.tokenize(["word", "word " * 5000])

    assert len(short) <= 2
    assert len(long) >= 5000


def test_wordllama_gives_what_the_library_gives() -> None:
    from wordllama import WordLlama as Library

    package = packaged("wordllama", "__init__.py").parent
    theirs = Library.load(cache_dir=package, disable_download=True).embed(TEXTS, norm=True)

    assert np.abs(embed(loaded(WordLlama), *TEXTS) - theirs).max() < 1e-5


def test_a_version_tells_other_weights_apart(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"1")
    two.write_bytes(b"2")

    assert version(one) == version(one) != version(two)
    assert len(version(one, two)) == 12


def test_a_missing_model_says_which_package_should_have_carried_it() -> None:
    with pytest.raises(RetryableError, match="no_such_package"):
        packaged("no_such_package", "x")
    with pytest.raises(RetryableError, match="wordllama has no weights/none"):
        packaged("wordllama", "weights", "none")
