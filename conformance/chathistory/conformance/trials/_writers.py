"""Workers in other processes that use a history, note each call before and after it, and can be killed."""

from __future__ import annotations

import atexit
import base64
import contextlib
import importlib
import importlib.util
import inspect
import json
import operator
import os
import pickle
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS_TO_START = 30.0
_SECONDS_TO_SEE_IT = 0.005
# Libraries whose import does nothing but define: loaded once, before workers are forked off.
_LIBRARIES = (
    "langchain_core.chat_history",
    "langchain_core.messages",
    "aiobotocore.session",
    "aiosqlite",
    "boto3",
    "psycopg",
    "psycopg_pool",
    "redis",
    "redis.asyncio",
    "sqlalchemy",
)


@dataclass(frozen=True)
class ImportedFactory:
    """A get_session_history that is imported where it is called: `module:attribute` or `file.py:attribute`."""

    place: str

    def __call__(self, session_id: str) -> Any:
        """Open a handle."""
        module_name, _, attribute = self.place.rpartition(":")
        if not module_name.endswith(".py"):
            return operator.attrgetter(attribute)(importlib.import_module(module_name))(session_id)
        if "target" not in sys.modules:
            spec = importlib.util.spec_from_file_location("target", module_name)
            assert spec is not None  # noqa: S101 -- so it is for a .py file
            assert spec.loader is not None  # noqa: S101 -- likewise
            sys.modules["target"] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(sys.modules["target"])
        return operator.attrgetter(attribute)(sys.modules["target"])(session_id)


@dataclass(frozen=True)
class Call:
    """One call of a worker, as far as it is known.

    Attributes:
        kind: "add", "read", "clear", "assign", "die", or "open" for a handle that could not be opened.
        added: the contents of the messages added.
        began: by the machine's monotonic clock, in seconds.
        ended: likewise; None if nobody saw it end.
        observed: the contents read.
        error: what it raised.
        session: the session.
        thread: which of the worker's threads made it.
    """

    kind: str
    added: tuple[str, ...]
    began: float
    ended: float | None = None
    observed: tuple[str, ...] | None = None
    error: str | None = None
    session: str = ""
    thread: int = 0

    @property
    def acknowledged(self) -> bool:
        """Whether it returned without raising."""
        return self.ended is not None and self.error is None


class Worker:
    """A process that makes calls; what it did is read from the file in which it notes them."""

    def __init__(self, nursery: Nursery, pid: int, log: Path) -> None:
        self._nursery, self.pid, self._log = nursery, pid, log

    def calls(self) -> list[Call]:
        """What it has done so far."""
        known: dict[int, dict[str, Any]] = {}
        for line in self._log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n"):  # the last may be cut
                note = json.loads(line)
                known.setdefault(note.pop("number"), {}).update(note)
        return [
            Call(
                note["kind"],
                tuple(note.get("added", ())),
                note.get("began", 0.0),
                note.get("ended"),
                tuple(note["observed"]) if note.get("observed") is not None else None,
                note.get("error"),
                note.get("session", ""),
                number // 1_000_000,
            )
            for number, note in sorted(known.items())
            if "kind" in note
        ]

    def wait_for(self, condition: Callable[[list[Call]], bool], seconds: float) -> bool:
        """Whether the condition came true in time, for what it has done."""
        deadline = time.monotonic() + seconds
        while not condition(self.calls()):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.002)
        return True

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        self.join()

    def join(self) -> None:
        """Wait for its end."""
        self._nursery.ask({"wait": self.pid})


class Nursery:
    """A process of its own, without threads or connections, from which workers are forked off.

    Args:
        factory: a get_session_history that can be pickled, or an `ImportedFactory`.
    """

    def __init__(self, factory: Callable[[str], Any]) -> None:
        self._rounds = 0
        self._folder, self._count = Path(tempfile.mkdtemp(prefix="chathistory-workers-")), 0
        place = factory.place if isinstance(factory, ImportedFactory) else ""
        wanted = {
            "path": [os.path.abspath(entry) for entry in sys.path],  # noqa: PTH100 -- "" is the current folder
            "place": place,
            # A script has imported its target under this name, and what it pickles of it says so.
            "target": "" if place else getattr(sys.modules.get("target"), "__file__", None) or "",
            "factory": "" if place else base64.b64encode(pickle.dumps(factory)).decode(),
            "libraries": [name for name in _LIBRARIES if name in sys.modules],
        }
        program = f"from __future__ import annotations\n{inspect.getsource(_nursery)}\n_nursery()\n"
        with self._words().open("wb") as words:
            self._process = subprocess.Popen(  # noqa: S603 -- the interpreter and a function of this file
                [sys.executable, "-c", program],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=words,
                start_new_session=True,
            )
        self.ask(wanted)

    def start(self, session_id: str, calls: Sequence[Any], *, name: str, mode: str = "sync", **more: Any) -> Worker:
        """A worker that makes these calls on one session; see `start_threads`."""
        return self.start_threads([[(session_id, call) for call in calls]], name=name, mode=mode, **more)

    def start_threads(
        self, plans: Sequence[Sequence[tuple[str, Any]]], *, name: str, mode: str = "sync", **more: Any
    ) -> Worker:
        """A worker with a thread for each plan.

        Args:
            plans: what each thread does, one after another, through handles of its own: a session id, and a
                number to add a batch of so many messages, "read", "clear", "assign 3" to assign so many to `messages`
                by a sync call, or "die", which is SIGKILL by its own hand, with nothing done in between; an error
                doesn't end it.
            name: what the contents of its messages begin with; they are unique in the session.
            mode: "sync" or "async".
            more: `waits`, whether it begins only at `begin`, once its handle is open; `stays`, whether it waits
                to be killed at the end; `pause`, the seconds after a call that raised.
        """
        self._count += 1
        log = self._folder / f"worker-{self._count}.jsonl"
        log.touch()
        if more.pop("waits", False):
            more["go"] = str(self._go())
        job = {"plans": plans, "name": name, "mode": mode, "log": str(log), "pause": 0, **more}
        return Worker(self, self.ask({"job": job})["pid"], log)

    def begin(self) -> None:
        """Let the workers that wait begin, all at the same moment."""
        go = self._go()
        written = go.with_suffix(".new")
        written.write_text(repr(time.monotonic() + _SECONDS_TO_SEE_IT))
        written.replace(go)
        self._rounds += 1

    def _go(self) -> Path:
        """The file that says when those who wait for it begin."""
        return self._folder / f"go-{self._rounds}"

    def ask(self, what: dict[str, Any]) -> dict[str, Any]:
        """Have something done, and return the answer."""
        pipe, answers = self._process.stdin, self._process.stdout
        assert pipe is not None  # noqa: S101 -- for the type checker
        assert answers is not None  # noqa: S101 -- likewise
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(what).encode() + b"\n")
            pipe.flush()
        answer = answers.readline()
        if not answer:
            words = self._words().read_text("utf-8", "replace").strip().splitlines()
            raise RuntimeError(
                f"the process of the workers ended by itself: {words[-1] if words else 'no reason given'}"
            )
        told: dict[str, Any] = json.loads(answer)
        return told

    def _words(self) -> Path:
        """The file that takes what it prints."""
        return self._folder / "words"

    def close(self) -> None:
        """End it, and all its workers."""
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._process.communicate(timeout=5)
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()
        shutil.rmtree(self._folder, ignore_errors=True)


_KEPT: list[tuple[object, Nursery]] = []


@contextmanager
def nursery_of(factory: Callable[[str], Any]) -> Iterator[Nursery]:
    """A nursery for workers that open their handles by this factory; kept for the next that asks for the same."""
    key = factory if isinstance(factory, ImportedFactory) else pickle.dumps(factory)
    kept = next((nursery for known, nursery in _KEPT if known == key), None)
    if kept is None:
        close_nurseries()
        kept = Nursery(factory)
        _KEPT.append((key, kept))
    try:
        yield kept
    except BaseException:
        close_nurseries()
        raise


def close_nurseries() -> None:
    """End the workers that are left, and the process that they were forked off from."""
    while _KEPT:
        _KEPT.pop()[1].close()


atexit.register(close_nurseries)


def factory_elsewhere(backend: Any, target: str | None = None) -> Callable[[str], Any] | None:
    """What opens the same store in another process, or None if the backend has nothing that does.

    That is its `in_another_process`, else a get_session_history that can be pickled, else the place that a
    bare get_session_history was imported from.
    """
    offered = getattr(backend, "in_another_process", None)
    if offered is not None:
        return offered  # type: ignore[no-any-return]
    factory = getattr(backend, "get_session_history", None)
    if factory is None:
        return ImportedFactory(target) if target else None
    if inspect.isfunction(factory) and factory.__module__ in ("__main__", "target"):
        return None
    try:
        pickle.dumps(factory)
    except Exception:  # noqa: BLE001 -- whatever keeps it from being pickled
        return None
    return factory  # type: ignore[no-any-return]


def _nursery() -> None:
    """Fork off workers on request, until the input ends; the program of the process, whole in itself."""
    import asyncio
    import base64
    import importlib
    import json
    import os
    import pickle
    import signal
    import sys
    import threading
    import time
    import warnings

    def answer(what: dict[str, Any]) -> None:
        os.write(1, json.dumps(what).encode() + b"\n")

    def imported(place: str) -> Any:
        from importlib.util import module_from_spec, spec_from_file_location

        spec = spec_from_file_location("target", place)
        sys.modules["target"] = module = module_from_spec(spec)  # type: ignore[arg-type]
        spec.loader.exec_module(module)  # type: ignore[union-attr]
        return module

    def factory() -> Any:
        if wanted["target"]:
            imported(wanted["target"])
        if not wanted["place"]:
            return pickle.loads(base64.b64decode(wanted["factory"]))  # noqa: S301 -- written by the parent
        place, _, attribute = wanted["place"].rpartition(":")
        module = imported(place) if place.endswith(".py") else importlib.import_module(place)
        found = module
        for name in attribute.split("."):
            found = getattr(found, name)
        return found

    def shown(error: BaseException) -> str:
        return f"{type(error).__name__}: {error}"[:500]

    def work(job: dict[str, Any]) -> None:
        from langchain_core.messages import HumanMessage

        log = os.open(job["log"], os.O_WRONLY | os.O_APPEND)

        def note(number: int, **what: Any) -> None:
            os.write(log, json.dumps({"number": number, **what}).encode() + b"\n")

        def called(history: Any, call: Any, messages: list[Any]) -> Any:
            if call == "read":
                return [str(m.content) for m in history.messages]
            if call == "clear":
                return history.clear()
            if isinstance(call, str):
                history.messages = messages
                return None
            return history.add_messages(messages)

        async def acalled(history: Any, call: Any, messages: list[Any]) -> Any:
            if call == "read":
                return [str(m.content) for m in await history.aget_messages()]
            if call == "clear":
                return await history.aclear()
            return await history.aadd_messages(messages)

        def run(thread: int, plan: list[Any], handles: dict[str, Any]) -> None:
            loop = asyncio.new_event_loop() if job["mode"] == "async" else None
            for number, (session, call) in enumerate(plan, start=1 + thread * 1_000_000):
                kind, _, count = ("add", "", call) if isinstance(call, int) else call.partition(" ")
                added = [f"{job['name']}-{number}-{item}" for item in range(int(count or 0))]
                messages = [HumanMessage(content=content) for content in added]
                note(number, kind=kind, session=session, added=added, began=time.monotonic())
                if call == "die":
                    os.kill(os.getpid(), signal.SIGKILL)
                try:
                    if session not in handles:
                        handles[session] = opens(session)
                    if loop and kind != "assign":
                        observed = loop.run_until_complete(acalled(handles[session], call, messages))
                    else:
                        observed = called(handles[session], call, messages)
                except Exception as error:  # noqa: BLE001 -- what is raised is noted
                    note(number, error=shown(error), ended=time.monotonic())
                    time.sleep(job["pause"])
                else:
                    note(number, observed=observed, ended=time.monotonic())

        try:
            opens = factory()
            first = job["plans"][0][0][0]
            opened = {first: opens(first)}
        except BaseException as error:
            note(0, kind="open", error=shown(error), ended=time.monotonic())
            raise
        if "go" in job:
            note(0, kind="waits", began=time.monotonic())
            while not os.path.exists(job["go"]):  # noqa: PTH110 -- the standard library's smallest
                time.sleep(0.0005)
            with open(job["go"]) as go:  # noqa: PTH123 -- likewise
                at = float(go.read())
            while time.monotonic() < at:
                pass
        others = [threading.Thread(target=run, args=(n, p, {})) for n, p in enumerate(job["plans"]) if n]
        for other in others:
            other.start()
        run(0, job["plans"][0], opened)
        for other in others:
            other.join()
        if job.get("stays"):
            note(10**9, kind="stays", began=time.monotonic())
            time.sleep(600)

    warnings.simplefilter("ignore")
    wanted = json.loads(sys.stdin.buffer.readline())
    sys.path[:] = wanted["path"]
    for library in wanted["libraries"]:
        importlib.import_module(library)
    answer({})
    children = set()
    while line := sys.stdin.buffer.readline():
        asked = json.loads(line)
        if "wait" in asked:
            status = os.waitpid(asked["wait"], 0)[1] if asked["wait"] in children else 0
            children.discard(asked["wait"])
            answer({"status": status})
            continue
        pid = os.fork()
        if pid == 0:
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, 0)
            os.dup2(null, 1)
            code = 1
            try:
                work(asked["job"])
                code = 0
            finally:
                os._exit(code)
        children.add(pid)
        answer({"pid": pid})
    for pid in children:
        os.kill(pid, signal.SIGKILL)
