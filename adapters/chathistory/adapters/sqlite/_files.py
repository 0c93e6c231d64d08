"""Which files this process has open: one `FileDatabase` per path, through forks and to the end."""

from __future__ import annotations

import atexit
import os
import threading
from collections import OrderedDict

from chathistory.adapters.sqlite._file import FileDatabase, Lease
from chathistory.adapters.sqlite._worker import forget_workers_of_parent

_KEPT_UNUSED = 16


class OpenFiles:
    """The files of one process.

    A file stays open for a while after its last handle is gone, since RunnableWithMessageHistory opens a
    handle per call; a program with a file per user must not run out of file descriptors by that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._files: OrderedDict[str, FileDatabase] = OrderedDict()

    def lease(self, path: str) -> tuple[FileDatabase, Lease]:
        """The database at a path, and the token that keeps it open."""
        lease = Lease()
        with self._lock:
            database = self._files.get(path)
            if database is None:
                database = self._files[path] = FileDatabase(path)
            database.leases.add(lease)
            self._files.move_to_end(path)
            surplus = self._take_surplus()
        for unused in surplus:
            unused.close()
        return database, lease

    def _take_surplus(self) -> list[FileDatabase]:
        """Look at two of the oldest each time: enough to keep up, and never a long search."""
        surplus = []
        for _ in range(2):
            if len(self._files) <= _KEPT_UNUSED:
                break
            path, database = next(iter(self._files.items()))
            if database.leases:
                self._files.move_to_end(path)
            else:
                surplus.append(self._files.pop(path))
        return surplus

    def give_back(self, database: FileDatabase, lease: Lease) -> None:
        """Return a lease; with the last one the file is closed."""
        with self._lock:
            database.leases.discard(lease)
            last = not database.leases
        if last:
            database.close()

    def close_all(self) -> None:
        """Close every file; for the end of the process."""
        for database in list(self._files.values()):
            database.close()

    def after_fork(self) -> None:
        """Start afresh in a forked child, and never touch what it inherited.

        SQLite's connections must not be used, not even closed, in another process than they were opened in:
        so they are kept for good, past the end of the interpreter, which would close them.
        """
        self._lock = threading.Lock()
        inherited = forget_workers_of_parent()
        for database in self._files.values():
            inherited += database.connections()
            database.begin_anew()
        for connection in inherited:
            _make_immortal(connection)


def _make_immortal(thing: object) -> None:
    try:
        import ctypes
    except ImportError:  # an interpreter built without it: then only until its end
        _IMMORTAL.append(thing)
    else:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


_IMMORTAL: list[object] = []

OPEN_FILES = OpenFiles()
atexit.register(OPEN_FILES.close_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=OPEN_FILES.after_fork)
