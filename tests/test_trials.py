"""Trials tell what passed on the wire and what a crash left, and their counterexamples run by themselves."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import BaseMessage

from chathistory.conformance import Backend, check
from chathistory.conformance._report import EFFORTS
from chathistory.conformance._targets import open_target
from chathistory.conformance.selfproof._network import NetworkHistory, network_backend
from chathistory.conformance.trials._crashes import wrong_after
from chathistory.conformance.trials._cuts import wrong_after_cut
from chathistory.conformance.trials._one_coroutine import awaited_in_a_row, mixed_in_a_coroutine, synced_in_a_loop
from chathistory.conformance.trials._proxy import Proxy
from chathistory.conformance.trials._writers import Call, ImportedFactory, factory_elsewhere, nursery_of
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory

QUICK = replace(EFFORTS["quick"], shrink_seconds=0.1)
ROOT = Path(__file__).parents[1]


@contextmanager
def echo_server() -> Iterator[tuple[str, int]]:
    """A server that sends back whatever comes."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection: socket.socket) -> None:
        with connection:
            try:
                while chunk := connection.recv(1 << 16):
                    connection.sendall(chunk)
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield listener.getsockname()[:2]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


@contextmanager
def through_a_proxy() -> Iterator[tuple[Proxy, socket.socket]]:
    """A proxy before an echo server, and a connection through it."""
    with (
        echo_server() as address,
        Proxy(address) as proxy,
        socket.create_connection((proxy.host, proxy.port), timeout=5) as connection,
    ):
        yield proxy, connection


def ask(connection: socket.socket, request: bytes) -> bytes:
    """Send a request and read as much again, or until the end."""
    connection.sendall(request)
    answer = b""
    while len(answer) < len(request):
        chunk = connection.recv(len(request) - len(answer))
        if not chunk:
            break
        answer += chunk
    return answer


def test_the_proxy_counts_bytes_round_trips_and_messages() -> None:
    """Each request and its answer are one round trip of two messages, however many packets they take."""
    with through_a_proxy() as (proxy, connection):
        assert ask(connection, b"12345") == b"12345"
        before = proxy.settled()
        assert ask(connection, b"x" * 300_000) == b"x" * 300_000
        assert ask(connection, b"y") == b"y"
        passed = proxy.settled().since(before)
        assert (passed.sent, passed.received) == (300_001, 300_001)
        assert before.connections == 1
        assert before.round_trips == 1
        # A large request may be answered in part before it has passed in whole.
        assert passed.round_trips >= 2
        assert passed.messages >= 4


@pytest.mark.parametrize(
    ("moment", "arrives"), [("before", b""), ("within", b"1234"), ("after", b"12345678"), ("early in", b"1234")]
)
def test_the_proxy_cuts_an_answer(moment: str, arrives: bytes) -> None:
    """Nothing, a half or all of the answer arrives, and then the connection ends."""
    with through_a_proxy() as (proxy, connection):
        proxy.cut_at(2, moment)
        connection.sendall(b"12345678")
        answer = b""
        while chunk := connection.recv(100):
            answer += chunk
        assert answer == arrives
        assert proxy.spare()


def test_the_proxy_cuts_a_long_answer_early_in_it() -> None:
    """What would be a status line arrives, and nothing that says how long the answer is."""
    with through_a_proxy() as (proxy, connection):
        proxy.cut_at(2, "early in")
        assert ask(connection, b"7" * 1000) == b"7" * 24


def test_the_proxy_lets_new_connections_pass_after_a_cut() -> None:
    """One cut is one cut."""
    with through_a_proxy() as (proxy, connection):
        proxy.cut_at(1, "before")
        assert ask(connection, b"lost") == b""
        with socket.create_connection((proxy.host, proxy.port), timeout=5) as another:
            assert ask(another, b"found") == b"found"


def test_the_proxy_delays_answers() -> None:
    """An answer takes at least so much longer."""
    with through_a_proxy() as (proxy, connection), proxy.delayed(0.1):
        began = time.monotonic()
        assert ask(connection, b"slowly") == b"slowly"
        assert time.monotonic() - began >= 0.1


def test_a_dead_server_ends_the_connection() -> None:
    """A client behind the proxy sees that there is nobody, as it would without it."""
    with echo_server() as address:
        pass
    with Proxy(address) as proxy, socket.create_connection((proxy.host, proxy.port), timeout=5) as connection:
        assert connection.recv(1) == b""


def added(*contents: str, acknowledged: bool = True) -> Call:
    """An add of a writer."""
    return Call("add", contents, 0.0, 1.0 if acknowledged else None)


ADDS = (added("a"), added("b", "c"), added("d", "e", acknowledged=False))


@pytest.mark.parametrize("seen", [["a", "b", "c"], ["a", "b", "c", "d", "e"]])
def test_what_was_acknowledged_is_enough(seen: list[str]) -> None:
    """An add that nobody saw end may be there or not."""
    assert wrong_after(seen, ADDS) is None


@pytest.mark.parametrize(
    ("seen", "word"),
    [
        (["a"], "missing"),
        (["a", "c", "b"], "missing"),
        (["b", "c"], "missing"),
        (["a", "b", "c", "d"], "part"),
        (["a", "b", "c", "d", "e", "d", "e"], "beyond"),
        (["a", "b", "c", "x"], "beyond"),
        ("KeyError: gone", "can't be read"),
    ],
)
def test_what_a_crash_must_not_leave_is_named(seen: list[str] | str, word: str) -> None:
    """Lost, torn, repeated and foreign messages, and a session that can't be read."""
    assert word in (wrong_after(seen, ADDS) or "")


LOST = ConnectionError("lost")


@pytest.mark.parametrize(
    ("call", "outcome", "after", "seen"),
    [
        ("add", None, None, ["m0", "m1", "m2", "m3"]),
        ("add", LOST, None, ["m0", "m1", "m2", "m3"]),
        ("add", LOST, None, ["m0", "m3"]),
        ("add", LOST, None, ["m0", "m3", "m1", "m2"]),
        ("add", LOST, LOST, ["m0"]),
        ("read", ["m0"], None, ["m0", "m3"]),
        ("read", LOST, None, ["m0", "m3"]),
        ("clear", None, None, ["m3"]),
        ("clear", LOST, None, ["m0", "m3"]),
        ("clear", LOST, LOST, []),
    ],
)
def test_what_a_cut_may_leave(call: str, outcome: object, after: object, seen: list[str]) -> None:
    """A call that raised took effect wholly or not at all; one that returned, wholly."""
    assert wrong_after_cut(call, outcome, after, seen) is None


@pytest.mark.parametrize(
    ("call", "outcome", "after", "seen"),
    [
        ("add", None, None, ["m0", "m3"]),
        ("add", None, None, ["m0", "m1", "m2", "m1", "m2", "m3"]),
        ("add", LOST, None, ["m0", "m1", "m2", "m1", "m2", "m3"]),
        ("add", LOST, None, ["m0", "m1", "m3"]),
        ("add", LOST, None, ["m1", "m2", "m3"]),
        ("add", LOST, None, ["m0", "m1", "m2"]),
        ("read", [], None, ["m0", "m3"]),
        ("read", ["m0"], None, ["m3"]),
        ("clear", None, None, ["m0", "m3"]),
    ],
)
def test_what_a_cut_must_not_leave(call: str, outcome: object, after: object, seen: list[str]) -> None:
    """Lost, torn and repeated batches, and reads that hide what is there."""
    assert wrong_after_cut(call, outcome, after, seen) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked off")
def test_a_killed_worker_leaves_a_readable_log() -> None:
    """What it had done is known, and the call that was under way has no end."""
    backend = network_backend("correct", NetworkHistory)
    factory = factory_elsewhere(backend)
    assert factory is not None
    with nursery_of(factory) as nursery:
        worker = nursery.start("session", [2] * 10_000, name="w")
        assert worker.wait_for(lambda calls: len(calls) >= 3, 30)
        worker.kill()
    calls = worker.calls()
    assert all(call.acknowledged and len(call.added) == 2 for call in calls[:-1])
    stored = [message.content for message in backend.get_session_history("session").messages]
    assert stored[:2] == list(calls[0].added)


def test_a_factory_is_only_taken_elsewhere_if_it_can_be() -> None:
    """A closure can't, a module's function can, and the place of a bare factory does."""
    backend = network_backend("correct", NetworkHistory)
    assert factory_elsewhere(replace(backend, in_another_process=None)) is None
    assert factory_elsewhere(replace(backend, in_another_process=None, get_session_history=NetworkHistory)) is not None
    place = f"{Path(__file__).with_name('script_subjects.py')}:anything"
    assert factory_elsewhere(object(), place) == ImportedFactory(place)


class InALoop(InMemoryChatMessageHistory):
    """Does as it is told where an event loop runs: adds later, refuses to, or says so and adds all the same."""

    def __init__(self, session_id: str, store: InMemoryChatHistoryStore, habit: str) -> None:
        super().__init__(session_id, store=store)
        self.habit = habit

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Add a batch."""
        if self.habit == "plain" or not runs_a_loop():
            super().add_messages(messages)
        elif self.habit == "later":
            asyncio.get_running_loop().call_soon(super().add_messages, list(messages))
        else:
            if self.habit == "all the same":
                super().add_messages(messages)
            raise RuntimeError("not in a running event loop")

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Add a batch."""
        self.add_messages(messages)

    async def aget_messages(self) -> list[BaseMessage]:
        """The messages."""
        return self.messages


def runs_a_loop() -> bool:
    """Whether there is a loop in this thread."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def of_habit(habit: str) -> Callable[[str], InALoop]:
    """A factory of such histories over one store."""
    store = InMemoryChatHistoryStore()
    return lambda session_id: InALoop(session_id, store, habit)


@pytest.mark.parametrize("habit", ["plain", "refuses"])
def test_sync_calls_in_a_loop_may_work_or_be_refused(habit: str) -> None:
    """A refused call has changed nothing, and outside the loop the next ones work."""
    assert synced_in_a_loop(of_habit(habit)).problem is None


@pytest.mark.parametrize(("habit", "shown"), [("later", "showed [], not ['m1']"), ("all the same", "['m1'], not []")])
def test_sync_calls_in_a_loop_are_not_done_later_nor_in_spite_of_an_error(habit: str, shown: str) -> None:
    """What returned is there for the next call, and what raised is not."""
    assert shown in (synced_in_a_loop(of_habit(habit)).problem or "")


@pytest.mark.parametrize(("habit", "shown"), [("plain", None), ("refuses", None), ("later", "showed [], not ['m1']")])
def test_an_awaited_call_has_taken_effect(habit: str, shown: str | None) -> None:
    """There is no other await between it and the next; what raises is for other clauses to judge."""
    problem = awaited_in_a_row(of_habit(habit)).problem
    assert problem is None if shown is None else shown in (problem or "")


@pytest.mark.parametrize(("habit", "shown"), [("plain", None), ("refuses", None), ("later", "showed [], not ['m1']")])
def test_both_forms_in_a_coroutine_see_each_other(habit: str, shown: str | None) -> None:
    """A sync call that is refused ends it, since nothing more can be told of the session."""
    problem = mixed_in_a_coroutine(of_habit(habit)).problem
    assert problem is None if shown is None else shown in (problem or "")


class LosesTheLast(InMemoryChatMessageHistory):
    """Of each batch."""

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Add a batch, or most of it."""
        batch = list(messages)
        super().add_messages(batch[:-1] or batch)

    async def aadd_messages(self, messages: Iterable[BaseMessage]) -> None:
        """Add a batch, or most of it."""
        self.add_messages(messages)


def test_what_plain_programs_show_is_not_laid_to_loops() -> None:
    """The trials see it, and their controls do, too."""
    store = InMemoryChatHistoryStore()
    backend = Backend(
        name="loses the last",
        get_session_history=lambda session_id: LosesTheLast(session_id, store=store),
        claims=frozenset({"core", "async"}),
    )
    assert synced_in_a_loop(backend).problem is not None
    assert awaited_in_a_row(backend).problem is not None
    assert mixed_in_a_coroutine(backend).problem is not None
    report = check(backend, clauses=["ASY-1", "ASY-2"], configuration=QUICK)
    assert [result.outcome for result in report.clauses] == ["passed", "passed"]


def run_script(script: str, folder: Path, target: str) -> subprocess.CompletedProcess[str]:
    """Run a counterexample's script in a process of its own."""
    path = folder / "script.py"
    path.write_text(script)
    return subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, str(path), target], capture_output=True, text=True, cwd=ROOT, check=False, timeout=120
    )


@pytest.mark.parametrize(
    ("name", "clause"),
    [
        ("retries", "DUR-4"),
        ("reads_first", "COST-1"),
        ("forgets", "DUR-1"),
        ("races", "CON-1"),
        ("answers_early", "DUR-2"),
    ],
)
def test_the_script_of_a_trial_runs_by_itself(name: str, clause: str, tmp_path: Path) -> None:
    """It fails on the history that it was found on, and not on a correct one."""
    with open_target(f"tests.network_subjects:{name}") as backend:
        report = check(backend, clauses=[clause], configuration=QUICK)
    [result] = report.clauses
    assert result.counterexample is not None
    script = result.counterexample.script
    assert "import chathistory" not in script
    assert "from chathistory" not in script
    failing = run_script(script, tmp_path, f"tests.network_subjects:{name}")
    assert (failing.returncode, failing.stdout[:13]) == (1, "STILL FAILING"), failing.stdout + failing.stderr
    fixed = run_script(script, tmp_path, "tests.network_subjects:correct")
    assert (fixed.returncode, fixed.stdout[:5]) == (0, "FIXED"), fixed.stdout + fixed.stderr
