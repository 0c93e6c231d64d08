"""Event loops for async steps: opened on demand, closed as `asyncio.run` does, never waited for in vain."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, ParamSpec, TypeVar

Returned = TypeVar("Returned")
Arguments = ParamSpec("Arguments")


class _DaemonExecutor(ThreadPoolExecutor):
    """Runs each call in a daemon thread, so that one that never returns doesn't keep the process alive."""

    def submit(
        self, call: Callable[Arguments, Returned], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Future[Returned]:
        future: Future[Returned] = Future()

        def work() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 -- handed to whoever waits for the future
                future.set_exception(error)
            else:
                future.set_result(result)

        threading.Thread(target=work, daemon=True, name="chathistory-executor").start()
        return future


class EventLoop:
    """One event loop at a time; `renew` closes it, and the next step gets another."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, Returned]) -> Returned:
        """Run a coroutine to its end in the present loop."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._loop.set_default_executor(_DaemonExecutor())
            self._loop.set_exception_handler(_ignore)
        return self._loop.run_until_complete(coroutine)

    def renew(self) -> None:
        """Close the present loop, if there is one, as `asyncio.run` does at its end."""
        loop, self._loop = self._loop, None
        if loop is None or loop.is_running():
            return
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, Exception):
                loop.run_until_complete(task)
        with contextlib.suppress(Exception):
            loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()

    def replace(self) -> None:
        """Close the present loop, and let go of it before the next is made: that may stand where this one stood."""
        self.renew()
        gc.collect(1)  # it is young; a whole collection would take as long as many programs

    def abandon(self) -> None:
        """Forget a loop in which something hangs; closing it could hang as well."""
        self._loop = None


def _ignore(_loop: asyncio.AbstractEventLoop, _context: dict[str, Any]) -> None:
    """Errors of background tasks show in what is read, and need no print."""
