import asyncio
import threading
from collections.abc import Sequence

import pytest

from daytwo.errors import TerminalError
from daytwo.records import Vector
from services.embedder.models import Models
from services.embedder.ports import Matrix, Tokens
from tests.embedder.toy_model import ToyModel


async def test_a_model_is_loaded_once_at_its_first_use() -> None:
    loaded: list[str] = []

    def load() -> ToyModel:
        loaded.append("toy")
        return ToyModel("toy")

    models = Models({"toy": load, "other": load}, max_windows=4)
    assert loaded == []

    found = await models.vectors("toy", ["a"])
    await models.vectors("toy", ["b"])

    assert loaded == ["toy"]
    assert isinstance(found[0], Vector)
    assert (found[0].model, found[0].version, found[0].dimension, len(found[0].values)) == ("toy", "1", 8, 32)


async def test_a_model_nobody_has_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(TerminalError, match="no embedding model 'x'; there are toy"):
        await Models({"toy": ToyModel}, max_windows=4).vectors("x", ["a"])


async def test_a_preloaded_model_is_there_before_its_first_use() -> None:
    loaded: list[ToyModel] = []

    def load() -> ToyModel:
        loaded.append(ToyModel())
        return loaded[0]

    await Models({"toy": load}, max_windows=4).load("toy")

    assert len(loaded) == 1


class OneThreadModel(ToyModel):
    """Fails when used from two threads."""

    def __init__(self) -> None:
        super().__init__("toy")
        self.threads: set[int] = set()

    def embed(self, windows: Sequence[Tokens]) -> Matrix:
        self.threads.add(threading.get_ident())
        return super().embed(windows)


async def test_all_computing_is_done_in_one_thread_which_is_not_the_event_loop() -> None:
    model = OneThreadModel()
    models = Models({"toy": lambda: model}, max_windows=4)

    await asyncio.gather(*(models.vectors("toy", ["a", "b"]) for _ in range(8)))

    assert len(model.threads) == 1
    assert threading.get_ident() not in model.threads
    models.close()


async def test_a_question_does_not_wait_for_all_chunks_of_a_document() -> None:
    model = ToyModel("toy")
    models = Models({"toy": lambda: model}, max_windows=4, slice_chars=6)

    await asyncio.gather(models.vectors("toy", ["chunk1", "chunk2", "chunk3"]), models.vectors("toy", ["why?", "a"]))

    assert model.asked == [["chunk1"], ["why?", "a"], ["chunk2"], ["chunk3"]]
