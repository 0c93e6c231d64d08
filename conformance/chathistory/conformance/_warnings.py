"""Keeps LangChain's deprecation warnings from people who did not call what is deprecated: the suite did."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from langchain_core._api.deprecation import LangChainDeprecationWarning, LangChainPendingDeprecationWarning

_UNWANTED = (LangChainDeprecationWarning, LangChainPendingDeprecationWarning)


@contextmanager
def without_langchain_deprecations() -> Iterator[None]:
    """Ignore them in the block, even where importing `langchain` sets its own filter that shows them."""
    with warnings.catch_warnings():
        for category in _UNWANTED:
            warnings.simplefilter("ignore", category)
        show = warnings.showwarning

        def show_others(message, category, *place):  # type: ignore[no-untyped-def]
            if not issubclass(category, _UNWANTED):
                show(message, category, *place)

        warnings.showwarning = show_others
        yield
