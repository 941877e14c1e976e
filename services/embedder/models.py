"""The models in memory, and the one thread that computes with them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from daytwo.errors import TerminalError
from daytwo.records import Vector
from services.embedder.ports import Loader, Model
from services.embedder.windows import Vectors, embed_texts

T = TypeVar("T")


class Models:
    """Loads each model at its first use. Who waits longest goes next, a slice at a time: documents do not hold up questions."""

    def __init__(self, loaders: Mapping[str, Loader], *, max_windows: int, slice_chars: int = 4096) -> None:
        self._loaders = loaders
        self._max_windows = max_windows
        self._slice_chars = slice_chars
        self._loaded: dict[str, Model] = {}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="embedder")

    async def load(self, name: str) -> None:
        """Loads a model before it is needed. Raises TerminalError where none has the name."""
        await self._in_thread(partial(self._model, name))

    async def vectors(self, name: str, texts: Sequence[str]) -> list[Vector | TerminalError]:
        """Per text its vector by the model, or why it has none. Raises TerminalError where no model has the name."""
        found: list[Vector | TerminalError] = []
        for part in _slices(texts, self._slice_chars):
            found += self._embed(name, part) if self._at_once(name, part) else await self._in_thread(partial(self._embed, name, part))
        return found

    def _at_once(self, name: str, texts: Sequence[str]) -> bool:
        """True where a hand-over to the thread would take longer than the work."""
        return name in self._loaded and self._loaded[name].static and sum(map(len, texts)) <= self._slice_chars

    def close(self) -> None:
        self._thread.shutdown(wait=True, cancel_futures=True)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _model(self, name: str) -> Model:
        if name not in self._loaders:
            raise TerminalError("internal_error", f"no embedding model {name!r}; there are {', '.join(self._loaders)}")
        if name not in self._loaded:
            self._loaded[name] = self._loaders[name]()
        return self._loaded[name]

    def _embed(self, name: str, texts: Sequence[str]) -> list[Vector | TerminalError]:
        model = self._model(name)
        vectors: Vectors = embed_texts(model, texts, max_windows=self._max_windows)
        return [_vector(model, each) for each in vectors]


def _vector(model: Model, values: bytes | TerminalError) -> Vector | TerminalError:
    if isinstance(values, TerminalError):
        return values
    return Vector(model=model.name, version=model.version, dimension=model.dimension, values=values)


def _slices(texts: Sequence[str], chars: int) -> Iterator[list[str]]:
    """Consecutive texts of together at most `chars` characters, or one alone."""
    part: list[str] = []
    size = 0
    for text in texts:
        if part and size + len(text) > chars:
            yield part
            part, size = [], 0
        part.append(text)
        size += len(text)
    if part:
        yield part
