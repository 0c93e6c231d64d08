"""DUR-2: SIGKILL of the writing process loses nothing acknowledged and leaves no part of a batch.

peer:file: After SIGKILL number 2 of a writing process the session can't be read:
JSONDecodeError: Expecting value: line 1 column 1 (char 0).

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

from __future__ import annotations

import asyncio
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
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import HumanMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.backends:file"

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
        kind: "add", "read", "clear", or "open" for a handle that could not be opened.
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
                number to add a batch of so many messages, "read" or "clear"; an error doesn't end it.
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

    def factory() -> Any:
        if not wanted["place"]:
            return pickle.loads(base64.b64decode(wanted["factory"]))  # noqa: S301 -- written by the parent
        place, _, attribute = wanted["place"].rpartition(":")
        if place.endswith(".py"):
            from importlib.util import module_from_spec, spec_from_file_location

            spec = spec_from_file_location("target", place)
            sys.modules["target"] = module = module_from_spec(spec)  # type: ignore[arg-type]
            spec.loader.exec_module(module)  # type: ignore[union-attr]
        else:
            module = importlib.import_module(place)
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
                added = [f"{job['name']}-{number}-{item}" for item in range(call)] if isinstance(call, int) else []
                messages = [HumanMessage(content=content) for content in added]
                kind = "add" if isinstance(call, int) else call
                note(number, kind=kind, session=session, added=added, began=time.monotonic())
                try:
                    if session not in handles:
                        handles[session] = opens(session)
                    observed = (acalled if loop else called)(handles[session], call, messages)
                    if loop:
                        observed = loop.run_until_complete(observed)
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


@dataclass
class Finding:
    """The problem in a sentence, or None; and how many calls were made to look for it."""

    problem: str | None
    calls: int


def loops_over_batches(history: Any) -> bool:
    """Whether it has only `add_message`: then its batches can't be whole, which is left to ATM-1 to ATM-3."""
    return type(history).add_messages is BaseChatMessageHistory.add_messages


_SIZES = (1, 3, 2, 5, 4)
_ADDS_OF_A_WRITER = 1_500
_ADDS_BEFORE_A_KILL = 0.02


def another_process(backend: Any, *, mode: str, target: str | None = None, **_: int) -> Finding:
    """Whether processes see what other processes were told is stored (DUR-1)."""
    session_id = f"{uuid.uuid4().hex}-another"
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        here = [["here-1-0", "here-1-1"], ["here-2-0"]]
        for batch in here:
            caller.add(session_id, batch)
        writer = nursery.start(session_id, (2, 1, 3), name="there", mode=mode, stays=True)
        if not writer.wait_for(lambda calls: any(call.kind in ("stays", "open") for call in calls), SECONDS_TO_START):
            return Finding("a process that adds three batches did not end", 5)
        if problem := _failed(writer.calls()):
            return Finding(problem, 5)
        acknowledged = [content for batch in here for content in batch]
        acknowledged += [content for call in writer.calls() for content in call.added]
        for when in ("while the writing process runs", "after the writing process has ended"):
            reader = nursery.start(session_id, ("read",), name="reader", mode=mode)
            reader.join()
            for who, seen in (("a new process", _read_by(reader)), ("this process", caller.read(session_id))):
                if isinstance(seen, str) or list(seen) != acknowledged:
                    return Finding(f"{when}, {who} reads {_shown(seen)} and not {_shown(acknowledged)}", 9)
            writer.kill()
    return Finding(None, 9)


def killed_writers(backend: Any, *, mode: str, seed: int, rounds: int, target: str | None = None) -> Finding:
    """Whether a SIGKILL of the writing process loses or tears anything (DUR-2)."""
    chance, calls = random.Random(seed), 0  # noqa: S311 -- no secret
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        for number in range(rounds):
            session_id = f"{uuid.uuid4().hex}-killed"
            sizes = caller.sizes(session_id, number)
            writer = nursery.start(session_id, sizes, name="w", mode=mode)
            if not writer.wait_for(lambda known: any(call.ended for call in known), SECONDS_TO_START):
                return Finding("the first add of a process did not return", calls)
            time.sleep(chance.uniform(0, _ADDS_BEFORE_A_KILL))
            writer.kill()
            made = writer.calls()
            calls += len(made) + 3
            if problem := _failed(made[:1]) or _after_the_end(caller, session_id, made):
                return Finding(f"after SIGKILL number {number + 1} of a writing process {problem}", calls)
    return Finding(None, calls)


def crashed_server(backend: Any, *, mode: str, seed: int, rounds: int, target: str | None = None) -> Finding:
    """Whether a SIGKILL of the store's server loses, tears or repeats anything (DUR-3)."""
    chance, calls = random.Random(seed), 0  # noqa: S311 -- no secret
    with nursery_of(_factory(backend, target)) as nursery, Caller(backend, mode) as caller:
        for number in range(rounds):
            session_id = f"{uuid.uuid4().hex}-crashed"
            sizes = caller.sizes(session_id, number)
            writer = nursery.start(session_id, sizes, name="w", mode=mode, pause=0.02)
            if not writer.wait_for(lambda known: any(call.ended for call in known), SECONDS_TO_START):
                return Finding("the first add of a process did not return", calls)
            time.sleep(chance.uniform(0, 2 * _ADDS_BEFORE_A_KILL))
            backend.crash_server()
            writer.kill()
            made = writer.calls()
            calls += len(made) + 3
            if problem := _failed(made[:1]) or _after_the_end(caller, session_id, made):
                return Finding(f"after SIGKILL number {number + 1} of the server {problem}", calls)
    return Finding(None, calls)


def _factory(backend: Any, target: str | None) -> Any:
    factory = factory_elsewhere(backend, target)
    if factory is None:
        raise LookupError("the backend has no get_session_history that another process could use")
    return factory


def _after_the_end(caller: Caller, session_id: str, made: Sequence[Call]) -> str | None:
    """What is wrong with the session that a killed writer has left; it must be readable, whole, and go on."""
    seen = caller.read(session_id, tries=3)
    if problem := wrong_after(seen, made):
        return problem
    try:
        caller.add(session_id, ["after"])
    except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
        return f"nobody can add to the session any more: {type(error).__name__}: {error}"
    later = caller.read(session_id)
    if isinstance(later, str) or "after" not in later:
        return f"a message added afterwards is missing: {_shown(later)}"
    return wrong_after([content for content in later if content != "after"], made)


def wrong_after(seen: Sequence[str] | str, made: Iterable[Call]) -> str | None:
    """What of the adds made is missing, torn, repeated or out of order in what was read, or None.

    Adds that were not acknowledged may be there, wholly, or not.
    """
    if isinstance(seen, str):
        return f"the session can't be read: {seen}"
    place = 0
    for call in made:
        if call.kind != "add":
            continue
        there = tuple(seen[place : place + len(call.added)])
        if there == call.added:
            place += len(call.added)
        elif call.acknowledged:
            return f"the acknowledged {_shown(call.added)} is missing {_around(seen, place)}"
        elif set(there) & set(call.added):
            return f"a part of the batch {_shown(call.added)} stands {_around(seen, place)}"
    if place < len(seen):
        return f"{_shown(seen[place:])} stands in the session beyond what was added, in its order and once"
    return None


def _failed(made: Iterable[Call]) -> str | None:
    error = next((call for call in made if call.error is not None), None)
    return None if error is None else f"in another process, {error.kind} raised {error.error}"


def _read_by(reader: Worker) -> Sequence[str] | str:
    calls = reader.calls()
    if not calls or calls[-1].observed is None:
        return calls[-1].error or "nothing" if calls else "nothing"
    return calls[-1].observed


class Caller:
    """Makes calls of this process, each through a handle of its own."""

    def __init__(self, backend: Any, mode: str) -> None:
        self._opens = getattr(backend, "get_session_history", backend)
        self._loop = asyncio.new_event_loop() if mode == "async" else None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def sizes(self, session_id: str, number: int) -> list[int]:
        """The sizes of the batches that a writer adds, in a different order each time."""
        if loops_over_batches(self._opens(session_id)):
            return [1] * _ADDS_OF_A_WRITER
        return [_SIZES[(number + add) % len(_SIZES)] for add in range(_ADDS_OF_A_WRITER)]

    def add(self, session_id: str, contents: Sequence[str]) -> None:
        """Add a batch."""
        history, messages = self._opens(session_id), [HumanMessage(content=content) for content in contents]
        if self._loop is None:
            history.add_messages(messages)
        else:
            self._loop.run_until_complete(history.aadd_messages(messages))

    def read(self, session_id: str, tries: int = 1) -> Sequence[str] | str:
        """The contents of a session, or the error; a lost connection may cost a first try."""
        text = ""
        for _ in range(tries):
            try:
                history = self._opens(session_id)
                found = self._read(history)
                return [str(message.content) for message in found]
            except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
                text = f"{type(error).__name__}: {error}"
        return text

    def _read(self, history: Any) -> Any:
        if self._loop is None:
            return history.messages
        return self._loop.run_until_complete(history.aget_messages())


def _around(seen: Sequence[str], place: int) -> str:
    """The messages read that stand about a place."""
    first = max(place - 3, 0)
    return f"where messages {first + 1} and later of {len(seen)} are {list(seen[first : place + 5])}"


def _shown(contents: Sequence[str] | str) -> str:
    text = str(contents if isinstance(contents, str) else list(contents))
    return text if len(text) <= 300 else f"{text[:300]}… ({len(contents)} in all)"


@contextlib.contextmanager
def opened(target):
    """Open what `module:attribute` or `file.py:attribute` names, and close it at the end."""
    sys.path.insert(0, "")
    warnings.simplefilter("ignore")
    place, _, attribute = target.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("target", place)
        sys.modules["target"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    warnings.simplefilter("ignore")  # some imports turn warnings on again
    found = operator.attrgetter(attribute)(module)
    if inspect.isgeneratorfunction(inspect.unwrap(found)):
        backends = inspect.unwrap(found)()
        try:
            yield next(backends)
        finally:
            next(backends, None)
    elif inspect.isfunction(found) and not inspect.signature(found).parameters:
        yield found()
    else:
        yield found


def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")


with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    # Step 1, at which the violation showed.
    try:
        observed = killed_writers(backend, mode="sync", seed=0, rounds=40, target=TARGET).problem
    except Exception as error:
        observed = repr(error)

if observed is None:
    print("FIXED: DUR-2 at step 1")
else:
    print("STILL FAILING: DUR-2 at step 1")
    print("  expected:", "what was acknowledged is there, and of each batch all or nothing")
    print("  observed:", observed)
    sys.exit(1)
