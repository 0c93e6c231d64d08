"""Histories that hold connections are context managers: what is opened by `with` is closed at its end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType

from typing_extensions import Self


class ClosesAtTheEnd(ABC):
    """`with` and `async with` for a class with `close` and `aclose`."""

    @abstractmethod
    def close(self) -> None:
        """Have done with this handle."""

    @abstractmethod
    async def aclose(self) -> None:
        """The async form of `close`."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()
