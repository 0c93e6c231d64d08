"""Which servers this process has connections to: one `Store` per URL, through forks and to the end."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict

from chathistory.adapters.redis._lines import lines_to
from chathistory.adapters.redis._store import Lease, Store

_KEPT_UNUSED = 16


class SharedStores:
    """The stores of one process.

    A store keeps its connections for a while after its last handle is gone, since RunnableWithMessageHistory
    opens a handle per call; a program with a URL per user must not run out of sockets by that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._stores: OrderedDict[str, Store] = OrderedDict()

    def lease(self, url: str) -> tuple[Store, Lease]:
        """The store at a URL, and the token that keeps its connections.

        Raises:
            ValueError: if the URL can't be understood.
        """
        lease = Lease()
        with self._lock:
            store = self._stores.get(url)
            if store is None:
                store = self._stores[url] = Store(lines_to(url))
            store.leases.add(lease)
            self._stores.move_to_end(url)
            surplus = self._take_surplus()
        for unused in surplus:
            unused.close()
        return store, lease

    def _take_surplus(self) -> list[Store]:
        """Look at two of the oldest each time: enough to keep up, and never a long search."""
        surplus = []
        for _ in range(2):
            if len(self._stores) <= _KEPT_UNUSED:
                break
            url, store = next(iter(self._stores.items()))
            if store.leases:
                self._stores.move_to_end(url)
            else:
                surplus.append(self._stores.pop(url))
        return surplus

    def give_back(self, store: Store, lease: Lease) -> bool:
        """Return a lease; whether it was the last, so that the store is to be closed."""
        with self._lock:
            store.leases.discard(lease)
            return not store.leases

    def close_all(self) -> None:
        """Close every store; for the end of the process."""
        for store in list(self._stores.values()):
            store.close()

    def after_fork(self) -> None:
        """A lock that another thread of the parent holds would never be released here."""
        self._lock = threading.Lock()


SHARED_STORES = SharedStores()
atexit.register(SHARED_STORES.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED_STORES.after_fork)
