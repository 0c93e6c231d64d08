"""Async calls where there are only sync connections: in threads, and still stopped by a cancellation."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

from psycopg.pq.abc import PGresult

from chathistory.adapters.postgres._exchange import Exchange
from chathistory.adapters.postgres._settling import ended


async def run_in_thread(run: Callable[[Exchange], PGresult], exchange: Exchange) -> PGresult:
    """Run an exchange in a thread of the loop's executor.

    A cancellation that finds it waiting for its connection is passed on at once, and the thread sends nothing;
    one that finds it under way has the server stop it first, or cuts its connection off.

    Args:
        run: carries the exchange out over some connection.
        exchange: the operation.
    """
    call = asyncio.get_running_loop().run_in_executor(None, run, exchange)
    call.add_done_callback(_seen)
    try:
        return await asyncio.shield(call)
    except asyncio.CancelledError:
        if exchange.abandon():
            await ended(call, lambda: _stop(exchange), exchange.cut_off)
        raise


async def _stop(exchange: Exchange) -> None:
    # In a thread of its own: those of the executor may all be waiting for what is to be stopped.
    threading.Thread(target=exchange.stop, name="chathistory-postgres-stop", daemon=True).start()


def _seen(call: asyncio.Future[PGresult]) -> None:
    """Let nobody complain that the error of an abandoned call was never retrieved."""
    if not call.cancelled():
        call.exception()
