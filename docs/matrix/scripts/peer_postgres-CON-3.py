"""CON-3: Without a clear (and without bound or expiry) a later read extends an earlier one:
nothing vanishes, moves, or appears in the middle.

peer:postgres: Read 27 by worker 1 holds 'w1-3-0' and not 'w2-4-0', so 'w2-4-0' can only have
been added behind; yet in read 29 by worker 1 it stands before 'w1-3-0'.

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
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import warnings
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from langchain_core.messages import HumanMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.postgres:postgres"

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


CLEAR = "clear"
READ = "read"
CANCEL = "cancel "
REFUSE = "refuse "
SINGLE = "single"
LARGE = "large "
SECONDS_TO_END = 30.0
_PADDING = " " + "x" * 40_000


@dataclass(frozen=True)
class Event:
    """One call of one worker: what it added or read, and when it began and ended; `ended` is None if it did not."""

    worker: int
    kind: str
    began: float
    ended: float | None
    added: tuple[str, ...] = ()
    observed: tuple[str, ...] | None = None
    error: BaseException | None = None
    may_raise: bool = False


def run_together(
    open_history: Callable[[], Any],
    workers: Sequence[Sequence[Any]],
    *,
    tasks: bool,
    shared: bool,
    opens: bool = False,
    elsewhere: tuple[Any, str] | None = None,
    seconds: float = SECONDS_TO_END,
) -> list[Event]:
    """Let all workers begin at once; at the end one read is made through a new handle.

    With `elsewhere`, a factory that can be pickled and a session id, each works in a process of its own.

    A worker is a sequence of calls: a number adds a batch of that many messages, "read" reads, "clear" clears;
    "cancel 3", for tasks, begins to add a batch of three and is cancelled some turns of the event loop later, as
    is the read of "cancel read";
    "refuse 3", for threads and tasks, adds a batch of three whose last message a store may refuse;
    "single", for threads, adds one message by `add_message`; "large 3", for threads and tasks, adds three long ones.
    With `shared` all go through one handle, else each through its own; with `opens` each opens its own
    handle only when all begin. They have so many seconds to end; processes and tasks always have SECONDS_TO_END.
    """
    one = open_history() if shared else None
    handles = [one if shared else None if opens or elsewhere else open_history() for _ in workers]
    events: list[Event] = []
    if elsewhere:
        _as_processes(*elsewhere, workers, events)
    elif tasks:
        asyncio.run(_as_tasks(open_history, handles, workers, events))
    else:
        _as_threads(open_history, handles, workers, events, seconds)
    began = time.monotonic()
    history = open_history()
    read = asyncio.run(_read(history)) if tasks else history.messages
    events.append(Event(-1, READ, began, time.monotonic(), observed=_contents(read)))
    return events


def _as_threads(
    open_history: Callable[[], Any],
    handles: list[Any],
    workers: Sequence[Sequence[Any]],
    events: list[Event],
    seconds: float,
) -> None:
    """Threads that change places as often as the interpreter lets them."""
    barrier = threading.Barrier(len(workers))

    def work(number: int) -> None:
        barrier.wait()
        try:
            history = _handle(handles[number], open_history)
        except BaseException as error:  # noqa: BLE001 -- what is raised is recorded
            events.append(Event(number, "open", 0, time.monotonic(), error=error))
            return
        for call, added in _calls(number, workers[number]):
            began = time.monotonic()
            try:
                result = _sync_call(history, call, added)
            except BaseException as error:  # noqa: BLE001 -- what is raised is recorded
                ended, may_raise = time.monotonic(), _may_raise(call)
                events.append(Event(number, _kind(call), began, ended, added, error=error, may_raise=may_raise))
            else:
                events.append(Event(number, _kind(call), began, time.monotonic(), added, result))

    threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(len(workers))]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    deadline = time.monotonic() + seconds
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(deadline - time.monotonic(), 0))
    finally:
        sys.setswitchinterval(interval)
    if any(thread.is_alive() for thread in threads):
        events.append(Event(-2, "hung", deadline, None))


def _handle(opened: Any, open_history: Callable[[], Any]) -> Any:
    """The handle, or a new one; a handle may have no truth value."""
    return open_history() if opened is None else opened


def _as_processes(factory: Any, session_id: str, workers: Sequence[Sequence[Any]], events: list[Event]) -> None:
    with nursery_of(factory) as nursery:
        working = [
            nursery.start(session_id, calls, name=f"w{number}", waits=True, stays=True)
            for number, calls in enumerate(workers)
        ]
        deadline = time.monotonic() + SECONDS_TO_END
        for worker in working:
            worker.wait_for(bool, SECONDS_TO_END)
        nursery.begin()
        for number, worker in enumerate(working):
            left = max(deadline - time.monotonic(), 0.01)
            if not worker.wait_for(lambda calls: any(call.kind in ("stays", "open") for call in calls), left):
                events.append(Event(-2, "hung", deadline, None))
            for call in worker.calls():
                if call.kind not in ("waits", "stays"):
                    error = None if call.error is None else RuntimeError(call.error)
                    events.append(Event(number, call.kind, call.began, call.ended, call.added, call.observed, error))
            worker.kill()


async def _as_tasks(
    open_history: Callable[[], Any], handles: list[Any], workers: Sequence[Sequence[Any]], events: list[Event]
) -> None:
    async def work(number: int) -> None:
        history = _handle(handles[number], open_history)
        for place, (call, added) in enumerate(_calls(number, workers[number])):
            began = time.monotonic()
            if _is_cancelled(call):
                await _cancelled(history, added, place % 5)
                if added:
                    events.append(Event(number, "add", began, None, added))
                continue
            try:
                result = await _async_call(history, call, added)
            except (Exception, asyncio.CancelledError) as error:
                ended, may_raise = time.monotonic(), _may_raise(call)
                if ended > deadline:
                    raise
                events.append(Event(number, _kind(call), began, ended, added, error=error, may_raise=may_raise))
            else:
                events.append(Event(number, _kind(call), began, time.monotonic(), added, result))
            await asyncio.sleep(0)

    deadline = time.monotonic() + SECONDS_TO_END
    working: list[Awaitable[None]] = [work(number) for number in range(len(workers))]
    try:
        await asyncio.wait_for(asyncio.gather(*working), SECONDS_TO_END)
    except asyncio.TimeoutError:
        events.append(Event(-2, "hung", time.monotonic(), None))


def _calls(number: int, worker: Sequence[Any]) -> list[tuple[Any, tuple[str, ...]]]:
    """The calls of a worker, with the contents that each adds: unique in the whole run."""
    calls: list[tuple[Any, tuple[str, ...]]] = []
    for place, call in enumerate(worker):
        word = str(call).removeprefix(CANCEL).removeprefix(REFUSE).removeprefix(LARGE)
        size = int(word) if word.isdigit() else int(call == SINGLE)
        calls.append((call, tuple(f"w{number}-{place}-{item}" for item in range(size))))
    return calls


def _is_cancelled(call: Any) -> bool:
    return isinstance(call, str) and call.startswith(CANCEL)


def _may_raise(call: Any) -> bool:
    return isinstance(call, str) and call.startswith(REFUSE)


def _batch(call: Any, added: tuple[str, ...]) -> list[HumanMessage]:
    """Plain messages; in a batch that may be refused the last holds what JSON doesn't know."""
    padding = _PADDING if str(call).startswith(LARGE) else ""
    batch = [HumanMessage(f"{content}{padding}") for content in added]
    if _may_raise(call):
        batch[-1].additional_kwargs["value"] = float("nan")
    return batch


async def _cancelled(history: Any, added: tuple[str, ...], turns: int) -> None:
    """Begin an add, or a read, and cancel it after so many turns: nobody knows whether an add takes effect."""
    messages = [HumanMessage(content) for content in added]
    task = asyncio.ensure_future(history.aadd_messages(messages) if added else history.aget_messages())
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task


def _kind(call: Any) -> str:
    is_add = isinstance(call, int) or _may_raise(call) or call == SINGLE or str(call).startswith(LARGE)
    return "add" if is_add else str(call)


def _sync_call(history: Any, call: Any, added: tuple[str, ...]) -> tuple[str, ...] | None:
    if call == READ:
        return _contents(history.messages)
    if call == CLEAR:
        history.clear()
    elif call == SINGLE:
        history.add_message(*_batch(call, added))
    else:
        history.add_messages(_batch(call, added))
    return None


async def _async_call(history: Any, call: Any, added: tuple[str, ...]) -> tuple[str, ...] | None:
    if call == READ:
        return _contents(await history.aget_messages())
    if call == CLEAR:
        await history.aclear()
    else:
        await history.aadd_messages(_batch(call, added))
    return None


async def _read(history: Any) -> Any:
    return await history.aget_messages()


def _contents(messages: Any) -> tuple[str, ...]:
    return tuple(str(message.content).removesuffix(_PADDING) for message in messages)


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


def problem(events):
    """What is wrong with what the workers did, or None."""
    if any(event.kind == "hung" for event in events):
        return "some of the calls did not return"
    reads = [event for event in events if event.observed is not None]
    clears = [event for event in events if event.kind == "clear"]
    for a, b in ((a, b) for a in reads for b in reads if a.ended < b.began):
        cleared = any(clear.began < b.ended and clear.ended > a.began for clear in clears)
        if not cleared and b.observed[: len(a.observed)] != a.observed:
            return f"after {a.observed} there was read {b.observed}"
    return None


with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    # Step 1, at which the violation showed.
    for _ in range(20):
        run = "t" + uuid.uuid4().hex[:19]
        try:
            events = run_together(
                lambda: get_session_history(f"{run}-a"),
                [
                    (
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                    ),
                    (
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                        1,
                        "read",
                    ),
                    (1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1),
                ],
                tasks=False,
                shared=False,
                elsewhere=(factory_elsewhere(backend, TARGET), f"{run}-a"),
            )
            observed = problem(events)
        except Exception as error:
            observed = repr(error)
        if observed is not None:
            break

if observed is None:
    print("FIXED: CON-3 at step 1")
else:
    print("STILL FAILING: CON-3 at step 1")
    print("  expected:", "each read extends the reads that had ended before it began")
    print("  observed:", observed)
    sys.exit(1)
