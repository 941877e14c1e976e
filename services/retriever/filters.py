"""A scope as a boolean expression of Milvus: the tenant always first, names quoted so that they stay names.

Milvus Lite has no filter templates (`filter_params`), so values are written into the expression.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from services.retriever.ports import Scope, SourceKey

_ESCAPES: Final = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
"""What both Milvus and Milvus Lite read back as the character; any other may stand as it is."""


def expression(scope: Scope) -> str:
    """Matches exactly the chunks in `scope`."""
    return " and ".join(_terms(scope))


def sources(keys: Iterable[SourceKey]) -> str:
    """Matches the chunks of all `keys`, and possibly of other sources that share each part with one of them."""
    tenants, collections, names = zip(*keys, strict=True)
    return f"tenant in {_list(tenants)} and collection in {_list(collections)} and source in {_list(names)}"


def quoted(text: str) -> str:
    """`text` as a string literal."""
    return f'"{text.translate(_ESCAPES)}"'


def _terms(scope: Scope) -> Iterator[str]:
    yield f"tenant == {quoted(scope.tenant)}"
    yield f"collection == {quoted(scope.collection)}"
    if scope.sources:
        yield f"source in {_list(scope.sources)}"
    if scope.categories:
        yield f"category in {_list(scope.categories)}"
    if scope.after_ms is not None:
        yield f"published_at_ms >= {scope.after_ms}"
    if scope.before_ms is not None:
        yield f"published_at_ms < {scope.before_ms}"


def _list(names: Iterable[str]) -> str:
    return f"[{', '.join(quoted(name) for name in sorted(set(names)))}]"
