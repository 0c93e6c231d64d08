"""The PostgreSQL history through lost connections, restarts of the server, other processes and forks."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import subprocess
from collections import defaultdict
from contextlib import AbstractContextManager
from typing import Any

import psycopg
import pytest
from tests import other_programs
from tests.interruptions import elsewhere, interrupted
from tests.other_programs import CLOSES_A_LOOP_DURING_A_CALL, ENDINGS, FORGETS_TO_CLOSE, output_of
from tests.postgres_database import (
    SECONDS,
    database,
    humans,
    new_table,
    opened,
    raw,
    running,
    server,
    texts,
    until,
    waited_for_locks,
)

from chathistory.adapters.postgres import PostgresChatMessageHistory, _exchange, _owned
from chathistory.reference import StoreError


@pytest.fixture
def table() -> str:
    """A table that create_tables made."""
    return new_table()


def end_connections(condition: str = "true") -> None:
    """Have the server end the connections of everybody else, and wait until they are gone."""
    query = (
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity "  # noqa: S608 -- our own
        f"WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    )
    with raw() as connection:
        connection.execute(query)


@pytest.mark.parametrize("host", ["db..example.com", "d" * 64 + ".example.com"])
def test_a_name_that_no_host_can_have_is_an_error_of_the_session(host: str) -> None:
    """As one that no host has."""
    history = PostgresChatMessageHistory("messages", "s", conninfo=f"postgresql://{host}/x")
    for call in (lambda: history.add_messages(humans("a")), lambda: asyncio.run(history.aget_messages())):
        with pytest.raises(
            StoreError, match=r"session 's': could not .* table 'messages': the host's name can't be one"
        ):
            call()


# Lost connections.


@pytest.mark.filterwarnings("ignore:.*was deleted while still open:ResourceWarning")
def test_a_signal_that_raises_during_a_call_stops_no_other_call(table: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C, or a task queue's time limit, at whatever moment it comes: no connection is kept with its lock held."""
    for module in (_exchange, _owned):
        monkeypatch.setattr(module, "SECONDS_TO_WAIT", 1.0)
    history, other = opened(table), opened(table, "other")
    for _ in interrupted(lambda: history.add_messages(humans("a", "b"))):
        elsewhere(lambda: other.add_messages(humans("x")))
    assert texts(history)[:2] == ["a", "b"]
    gc.collect()  # what the signal took out of everybody's hands is closed by that, of which psycopg warns


def test_a_signal_that_raises_leaves_a_given_connection_unlocked(table: str) -> None:
    """At whatever moment it comes; what else the connection is in then is psycopg's affair."""
    connections: list[psycopg.Connection[Any]] = []

    def add() -> None:
        PostgresChatMessageHistory(table, "s", sync_connection=connections[-1]).add_messages(humans("a", "b"))

    def renew() -> None:
        while connections:
            connections.pop().close()
        connections.append(psycopg.connect(database(), autocommit=True))

    renew()
    for _ in interrupted(add):
        assert not connections[-1].lock.locked()
        renew()
    connections.pop().close()


def test_connections_ended_between_calls_cost_no_call(table: str) -> None:
    """However many there were: the next calls, sync and async, go over new ones, once each."""
    history = opened(table)

    async def main() -> None:
        await asyncio.gather(*(history.aadd_messages(humans("a")) for _ in range(8)))
        with running(*[lambda: history.add_messages(humans("a"))] * 4):
            pass
        end_connections()
        history.add_messages(humans("b"))
        await asyncio.gather(*(history.aadd_messages(humans("b")) for _ in range(8)))

    asyncio.run(main())
    assert texts(history) == ["a"] * 12 + ["b"] * 9


def test_a_connection_ended_during_a_call_is_an_error_and_nothing_is_done_twice(table: str) -> None:
    """The add that waited for a lock is gone for good, and the next one works."""
    history = opened(table)
    with psycopg.connect(database()) as other:
        other.execute("SELECT 1")
        PostgresChatMessageHistory(table, "s", sync_connection=other).add_messages(humans("first"))

        def add() -> None:
            with pytest.raises(StoreError, match="session 's': could not add to"):
                history.add_messages(humans("lost"))

        with running(add, lambda: asyncio.run(_add_in_vain(history))):
            until(lambda: waited_for_locks() == 2)
            end_connections("wait_event_type = 'Lock'")
        other.commit()
    history.add_messages(humans("second"))
    assert texts(history) == ["first", "second"]


async def _add_in_vain(history: PostgresChatMessageHistory) -> None:
    with pytest.raises(StoreError, match="session 's': could not add to"):
        await history.aadd_messages(humans("lost"))
    await PostgresChatMessageHistory(history._table.name, "other", conninfo=database()).aadd_messages(humans("a"))


def test_an_answer_that_is_lost_is_said_to_be_in_doubt(table: str) -> None:
    """Where the connection breaks without a word of the server, nobody knows whether an add took effect."""
    with psycopg.connect(database()) as connection:
        connection.execute("SELECT 1")
        PostgresChatMessageHistory(table, "s", sync_connection=connection).add_messages(humans("a"))
        with raw() as broken:
            history = PostgresChatMessageHistory(table, "s", sync_connection=broken)

            def add() -> None:
                with pytest.raises(StoreError, match="it may have been done all the same: read before you repeat it"):
                    history.add_messages(humans("b"))

            with running(add):
                until(waited_for_locks)
                with contextlib.closing(_socket_of(broken)) as socket:
                    socket.shutdown(2)
                connection.rollback()


def _socket_of(connection: psycopg.Connection[Any]) -> Any:
    import socket

    return socket.socket(fileno=os.dup(connection.fileno()))


def test_a_restart_of_the_server_loses_nothing_acknowledged(table: str) -> None:
    """It is killed while threads and tasks write; they go on by themselves when it is back."""
    crash = server().crash
    if crash is None:
        pytest.skip("this server can't be crashed")
    stored: list[str] = []
    attempts = iter(range(10**9))

    def add(history: PostgresChatMessageHistory) -> None:
        text = str(next(attempts))
        with contextlib.suppress(StoreError):
            history.add_messages(humans(text, text))
            stored.append(text)

    async def aadd(history: PostgresChatMessageHistory) -> None:
        text = str(next(attempts))
        with contextlib.suppress(StoreError):
            await history.aadd_messages(humans(text, text))
            stored.append(text)

    async def tasks() -> None:
        while not over:
            await asyncio.gather(*(aadd(opened(table)) for _ in range(4)))

    def threads() -> None:
        while not over:
            add(opened(table))

    over = False
    with running(threads, threads, lambda: asyncio.run(tasks())):
        for _ in range(2):
            goal = len(stored) + 20
            until(lambda goal=goal: len(stored) >= goal)  # type: ignore[misc]
            crash()
        goal = len(stored) + 20
        until(lambda: len(stored) >= goal)
        over = True
    found = texts(opened(table))
    assert found[::2] == found[1::2]
    assert len(set(found[::2])) == len(found[::2])
    assert set(stored) <= set(found)


# Other processes.

PRELUDE = """
from chathistory.adapters.postgres import PostgresChatMessageHistory
conninfo, table = sys.argv[1:3]
def opened(session="s"):
    return PostgresChatMessageHistory(table, session, conninfo=conninfo)
"""


def program(script: str, *arguments: str) -> AbstractContextManager[subprocess.Popen[str]]:
    """A Python program of its own on the database of these tests."""
    return other_programs.running(PRELUDE, script, database(), *arguments)


def test_processes_that_start_together_without_a_table_lose_nothing() -> None:
    """Three processes make the table at the same moment and write on, sync and async, batches whole."""
    script = """
        number = sys.argv[3]
        say("ready")
        sys.stdin.readline()
        PostgresChatMessageHistory.create_tables(conninfo, table)
        for count in range(20):
            opened().add_messages(humans(*(f"{number}.{count}.{part}" for part in "ab")))
        async def main():
            for count in range(20, 40):
                await opened().aadd_messages(humans(*(f"{number}.{count}.{part}" for part in "ab")))
                assert f"{number}.{count}.b" in texts(await opened().aget_messages())
        asyncio.run(main())
    """
    table = new_table()
    PostgresChatMessageHistory.drop_table(database(), table)
    with contextlib.ExitStack() as stack:
        processes = [stack.enter_context(program(script, table, str(number))) for number in range(3)]
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
        for process in processes:
            output_of(process)
    found = texts(opened(table))
    assert [text[:-2] for text in found[::2]] == [text[:-2] for text in found[1::2]]
    for number in range(3):
        mine = [text for text in found if text.startswith(f"{number}.")]
        assert mine == [f"{number}.{count}.{part}" for count in range(40) for part in "ab"]


# It has imported everything, opened nothing, and forks a writer for every line it is sent.
NURSERY = """
for line in sys.stdin:
    name = line.strip()
    child = os.fork()
    if child == 0:
        say(str(os.getpid()))
        async def main():
            for count in range(10**9):
                await opened().aadd_messages(humans(*(f"{name}.{count}.{part}" for part in range(9))))
                say(f"{count}")
        if int(name) % 2:
            asyncio.run(main())
        for count in range(10**9):
            opened().add_messages(humans(*(f"{name}.{count}.{part}" for part in range(9))))
            say(f"{count}")
    os.waitpid(child, 0)
    say("dead")
"""


def acknowledged_by_a_killed_writer(process: subprocess.Popen[str], name: int, after: int) -> int:
    """Start a writer, kill it once it has acknowledged so many batches, and count what it acknowledged."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{name}\n")
    victim = int(process.stdout.readline())
    lines = [process.stdout.readline() for _ in range(after)]
    os.kill(victim, signal.SIGKILL)
    while (line := process.stdout.readline()) != "dead\n":
        assert line, "the nursery has died"
        lines.append(line)
    return len(lines)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_killed_writer_loses_nothing_and_leaves_no_part_of_a_batch_and_no_lock(table: str) -> None:
    """Twenty writers, sync and async, killed at whatever they were doing."""
    acknowledged = {}
    with program(NURSERY, table) as process:
        for name in range(20):
            acknowledged[name] = acknowledged_by_a_killed_writer(process, name, after=name % 5)
    batches: dict[tuple[int, int], list[int]] = defaultdict(list)
    opened(table).add_messages(humans("20.0.0"))
    for text in texts(opened(table))[:-1]:
        name, count, part = map(int, text.split("."))
        batches[name, count].append(part)
    assert [parts for parts in batches.values() if parts != list(range(9))] == []
    for name, count in acknowledged.items():
        stored = [of for writer, of in batches if writer == name]
        assert stored[:count] == list(range(count))
        assert len(stored) <= count + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_opens_connections_of_its_own(table: str) -> None:
    """Parent and child write on, through handles of before and after the fork, and both exit cleanly."""
    script = """
        history = opened()
        history.add_messages(humans("before"))
        loop = asyncio.new_event_loop()
        loop.run_until_complete(history.aadd_messages(humans("async before")))
        child = os.fork()
        if child == 0:
            history.add_messages(humans("child"))
            asyncio.run(history.aadd_messages(humans("async child")))
            assert len(texts(opened().messages)) == 4
            import warnings
            warnings.filterwarnings("ignore", "unclosed")  # the loop is the parent's to close
            sys.exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        history.add_messages(humans("parent"))
        loop.run_until_complete(history.aadd_messages(humans("async parent")))
        say("|".join(texts(history.messages)))
        loop.close()
    """
    with program(script, table) as process:
        assert output_of(process) == ["before|async before|child|async child|parent|async parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_connection_of_the_caller_is_refused_after_a_fork(table: str) -> None:
    """Two processes would talk over each other on it, so the history doesn't touch it in the child."""
    script = """
        import psycopg
        from chathistory.reference import StoreError
        connection = psycopg.connect(conninfo)
        history = PostgresChatMessageHistory(table, "s", sync_connection=connection)
        history.add_messages(humans("a"))
        child = os.fork()
        if child == 0:
            for one in (history, PostgresChatMessageHistory(table, "s", sync_connection=connection)):
                try:
                    one.add_messages(humans("b"))
                except StoreError as error:
                    say(str(error))
            os._exit(0)
        os.waitpid(child, 0)
        say("|".join(texts(history.messages)))
        connection.close()
    """
    with program(script, table) as process:
        said = output_of(process)
    assert all("opened before a fork" in text for text in said[:2])
    assert said[2:] == ["a"]


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_program_that_forgets_to_close_still_exits(table: str, ending: str) -> None:
    """After use in two event loops, one of them never closed, and without a warning."""
    with program(FORGETS_TO_CLOSE + ending, table) as process:
        out, err = process.communicate(timeout=SECONDS)
    assert (out, process.returncode) == ("", 0)
    assert err == "" or "daemon" in ending
    late = ["late"] * ("late" in ending)
    assert [text for text in texts(opened(table)) if text != "daemon"] == ["sync", "first loop", "second loop", *late]


def test_a_loop_closed_during_a_call_leaves_the_history_usable(table: str) -> None:
    """Against all rules of asyncio; batches are whole, no lock is left, and the next loop works."""
    with program(CLOSES_A_LOOP_DURING_A_CALL, table) as process:
        # asyncio complains of it, rightly, so what is on stderr is not looked at.
        out, _ = process.communicate(timeout=SECONDS)
    assert (out.splitlines(), process.returncode) == (["a|b|c"], 0)
