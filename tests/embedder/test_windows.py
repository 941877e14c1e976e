import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daytwo.errors import TerminalError
from services.embedder.windows import cut, embed_texts
from tests.embedder.toy_model import ToyModel


def values(found: bytes | TerminalError) -> np.ndarray:
    assert isinstance(found, bytes)
    return np.frombuffer(found, "<f4")


@given(st.lists(st.integers()), st.integers(1, 9))
def test_windows_hold_every_token_once_and_in_order(tokens: list[int], window: int) -> None:
    windows = cut(tokens, window)

    assert [token for each in windows for token in each] == tokens
    assert all(1 <= len(each) <= window for each in windows)


@given(st.lists(st.text("ab ", min_size=1, max_size=60), min_size=1, max_size=6))
def test_a_long_text_has_the_mean_of_all_its_tokens_and_length_one(texts: list[str]) -> None:
    model = ToyModel()
    for text, found in zip(texts, embed_texts(model, texts, max_windows=64), strict=True):
        words = text.split()
        if not words:
            assert isinstance(found, TerminalError)
            continue
        mean = np.mean([np.eye(8)[len(word) % 8] for word in words], axis=0)
        assert values(found) == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)
    assert model.longest_window <= model.window


def test_a_text_above_the_bound_is_refused_and_never_cut_and_the_others_are_embedded() -> None:
    short, long, fits = embed_texts(ToyModel(), ["a", "b " * 9, "c " * 8], max_windows=2)

    assert isinstance(long, TerminalError)
    assert (long.reason, long.detail) == ("text_too_long", "9 tokens; wordllama-256 takes 8 here")
    assert values(short).shape == values(fits).shape == (8,)


def test_no_text_has_no_vector() -> None:
    (found,) = embed_texts(ToyModel(), [""], max_windows=2)

    assert isinstance(found, TerminalError)
    assert found.reason == "invalid_request"
