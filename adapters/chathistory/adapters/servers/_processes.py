"""Runs servers as children that never outlive this process, in temporary folders that don't either."""

from __future__ import annotations

import atexit
import contextlib
import itertools
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from chathistory.adapters.servers import _launcher, _watcher
from chathistory.adapters.servers._server import ServerError

_STOP_SECONDS = 5.0


class _Watcher:
    """The process that clears up if this one is killed, and the pipe by which it is told what there is."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._keys = itertools.count()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = os.getpid()

    @contextmanager
    def told(self, **what: Any) -> Iterator[None]:
        """Have this cleared up if the process ends before the block does."""
        key = next(self._keys)
        self._tell({"key": key, **what})
        try:
            yield
        finally:
            self._tell({"key": key})

    def _tell(self, what: dict[str, Any]) -> None:
        if os.getpid() != self._owner:
            return  # in a fork: what there is belongs to its parent
        line = json.dumps(what).encode() + b"\n"
        with self._lock, contextlib.suppress(BrokenPipeError):
            pipe = self._started().stdin
            assert pipe is not None  # noqa: S101 -- for the type checker
            pipe.write(line)
            pipe.flush()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            command = [sys.executable, *_isolation(), str(_watcher.__file__)]
            self._process = subprocess.Popen(  # noqa: S603 -- the interpreter and a file of this package
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C in a terminal is meant for this process alone
                cwd="/" if os.name == "posix" else None,
            )
            atexit.register(self._end)
        return self._process

    def _end(self) -> None:
        if self._process is not None and os.getpid() == self._owner:
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                self._process.communicate(timeout=_STOP_SECONDS)

    def forget(self) -> None:
        """Let go of the pipe in a fork, so that the watcher sees the end of the process it watches."""
        if self._process is not None and self._process.stdin is not None:
            os.close(self._process.stdin.fileno())
            self._process.stdin = open(os.devnull, "wb")  # noqa: SIM115, PTH123 -- takes the closed one's place
            self._process = None


WATCHER = _Watcher()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=WATCHER.forget)


class _Starter(threading.Thread):
    """Starts all children from one thread that lives as long as the process does.

    On Linux the children are killed when the *thread* that started them ends.
    """

    def __init__(self) -> None:
        super().__init__(name="chathistory-servers", daemon=True)
        self._wanted: queue.SimpleQueue[tuple[Callable[[], Any], queue.SimpleQueue[Any]]] = queue.SimpleQueue()
        self.owner = os.getpid()

    def run(self) -> None:
        while True:
            start, answer = self._wanted.get()
            try:
                answer.put(start())
            except OSError as error:
                answer.put(error)

    def popen(self, command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
        answer: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._wanted.put((lambda: subprocess.Popen(command, **options), answer))  # noqa: S603 -- no shell
        outcome = answer.get()
        if isinstance(outcome, OSError):
            raise outcome
        process: subprocess.Popen[bytes] = outcome
        return process


_STARTER: list[_Starter] = []
_STARTER_LOCK = threading.Lock()


def _starter() -> _Starter:
    with _STARTER_LOCK:
        if not _STARTER or _STARTER[0].owner != os.getpid():
            _STARTER[:] = [_Starter()]
            _STARTER[0].start()
        return _STARTER[0]


@contextmanager
def temporary_folder(store: str) -> Iterator[Path]:
    """A new folder that is removed with everything in it, even if this process is killed."""
    folder = Path(tempfile.mkdtemp(prefix=f"chathistory-{store}-")).resolve()
    with WATCHER.told(remove=str(folder)):
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


class ServerProcess:
    """A server that runs as a child of this process.

    Args:
        command: the program and its arguments.
        log: the file that takes what it prints.
        user: the account to run it as, or "" for this process's own.
        environment: variables to add to this process's own.
        stop_signal: asks it to stop.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        *,
        user: str = "",
        environment: Mapping[str, str] | None = None,
        stop_signal: int = signal.SIGTERM,
    ) -> None:
        self._command, self._log, self._user, self._stop_signal = tuple(command), log, user, stop_signal
        self._environment = {**os.environ, **(environment or {})}
        self._process: subprocess.Popen[bytes] | None = None
        self._watch: contextlib.ExitStack = contextlib.ExitStack()

    def start(self) -> None:
        """Start it; whether it answers is for the caller to find out.

        Raises:
            ServerError: if the program can't be run.
        """
        with self._log.open("ab") as log:
            try:
                self._process = _starter().popen(
                    _launched(self._command, self._user),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    cwd=self._log.parent,
                    start_new_session=True,
                )
            except OSError as error:
                raise ServerError(f"{self._command[0]} can't be run: {error}") from None
        self._watch.enter_context(WATCHER.told(kill=self._process.pid, began=_watcher.began(self._process.pid)))

    @property
    def is_alive(self) -> bool:
        """Whether it runs."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once, by SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to stop, and kill it if it doesn't."""
        self._end(self._stop_signal)

    def last_words(self) -> str:
        """The last line that it printed."""
        with contextlib.suppress(OSError):
            lines = self._log.read_text("utf-8", "replace").strip().splitlines()
            return lines[-1].strip() if lines else ""
        return ""

    def _end(self, how: int) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        _watcher.kill_group(process.pid)
        self._watch.close()


def run_tool(command: Sequence[str], *, user: str, folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program to its end.

    Raises:
        ServerError: if it failed; the message ends with the last line that it printed.
    """
    done = subprocess.run(  # noqa: S603 -- programs of the server's own package
        _launched(command, user, parent=os.getpid()),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=folder,
        env={**os.environ, **environment},
        check=False,
    )
    if done.returncode:
        lines = (done.stderr or done.stdout).decode("utf-8", "replace").strip().splitlines()
        raise ServerError(f"{Path(command[0]).name} failed: {lines[-1] if lines else done.returncode}")


def _launched(command: Sequence[str], user: str, parent: int | None = None) -> list[str]:
    if os.name != "posix":
        return list(command)
    return [sys.executable, *_isolation(), str(_launcher.__file__), str(parent or os.getpid()), user, *command]


def _isolation() -> tuple[str, ...]:
    """Options that start an interpreter fast, and without the user's own settings."""
    return ("-I", "-S")
