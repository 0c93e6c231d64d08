"""A list whose content is fetched when it is first looked at, as some object mappers return them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partialmethod
from typing import Any

from langchain_core.messages import BaseMessage

_LOOKS = (
    *("__len__", "__iter__", "__reversed__", "__contains__", "__getitem__", "__setitem__", "__delitem__", "__repr__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__add__", "__mul__", "__iadd__", "__reduce_ex__"),
    *("append", "extend", "insert", "remove", "pop", "clear", "index", "count", "sort", "reverse", "copy"),
)


class LateList(list[BaseMessage]):
    """A list that calls `fetch` once, when something is first done with it."""

    def __init__(self, fetch: Callable[[], list[BaseMessage]]) -> None:
        super().__init__()
        self._fetch: Callable[[], list[BaseMessage]] | None = fetch

    def _look(self, name: str, *arguments: Any, **options: Any) -> Any:
        fetch, self._fetch = self._fetch, None
        if fetch is not None:
            super().extend(fetch())
        return getattr(super(), name)(*arguments, **options)


for _name in _LOOKS:
    setattr(LateList, _name, partialmethod(LateList._look, _name))
