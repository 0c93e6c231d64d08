"""The SQLite history across processes: many writers, killed writers, forks, and forgetful programs."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tests.other_programs import CLOSES_A_LOOP_DURING_A_CALL, ENDINGS, FORGETS_TO_CLOSE, SECONDS, output_of, running

from chathistory.adapters.sqlite import SQLiteChatMessageHistory

PRELUDE = """
from chathistory.adapters.sqlite import SQLiteChatMessageHistory
path = sys.argv[1]
def opened(session="s"):
    return SQLiteChatMessageHistory(session, path)
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the database will be."""
    return str(tmp_path / "history.db")


def texts(path: str) -> list[Any]:
    """What the session `s` holds."""
    return [message.content for message in SQLiteChatMessageHistory("s", path).messages]


def said_by(script: str, path: str) -> list[str]:
    """What a program says from its beginning to its end."""
    with running(PRELUDE, script, path) as program:
        return output_of(program)


def test_processes_that_start_together_on_a_new_file_lose_nothing(path: str) -> None:
    """Three processes make the database at the same moment and write on, sync and async, batches whole."""
    script = """
        number = sys.argv[2]
        history = SQLiteChatMessageHistory("s", path)
        say("ready")
        sys.stdin.readline()
        for count in range(20):
            history.add_messages(humans(*(f"{number}.{count}.{part}" for part in "ab")))
        async def main():
            for count in range(20, 40):
                await history.aadd_messages(humans(*(f"{number}.{count}.{part}" for part in "ab")))
                assert f"{number}.{count}.b" in texts(await history.aget_messages())
        asyncio.run(main())
        history.close()
    """
    with contextlib.ExitStack() as stack:
        programs = [stack.enter_context(running(PRELUDE, script, path, str(number))) for number in range(3)]
        for program in programs:
            assert program.stdout is not None
            assert program.stdout.readline() == "ready\n"
        for program in programs:
            assert program.stdin is not None
            program.stdin.write("go\n")
        for program in programs:
            output_of(program)
    found = texts(path)
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
        history = SQLiteChatMessageHistory("s", path)
        async def main():
            for count in range(10**9):
                await history.aadd_messages(humans(*(f"{name}.{count}.{part}" for part in range(9))))
                say(f"{count}")
        if int(name) % 2:
            asyncio.run(main())
        for count in range(10**9):
            history.add_messages(humans(*(f"{name}.{count}.{part}" for part in range(9))))
            say(f"{count}")
    os.waitpid(child, 0)
    say("dead")
"""


def acknowledged_by_a_killed_writer(program: subprocess.Popen[str], name: int, after: int) -> int:
    """Start a writer, kill it once it has acknowledged so many batches, and count what it acknowledged."""
    assert program.stdin is not None
    assert program.stdout is not None
    program.stdin.write(f"{name}\n")
    victim = int(program.stdout.readline())
    lines = [program.stdout.readline() for _ in range(after)]
    os.kill(victim, signal.SIGKILL)
    while (line := program.stdout.readline()) != "dead\n":
        assert line, "the nursery has died"
        lines.append(line)
    return len(lines)


def test_a_killed_writer_loses_nothing_and_leaves_no_part_of_a_batch(path: str) -> None:
    """Forty writers, sync and async, killed at whatever they were doing, the first while making the table."""
    acknowledged = {}
    with running(PRELUDE, NURSERY, path) as program:
        for name in range(40):
            acknowledged[name] = acknowledged_by_a_killed_writer(program, name, after=name % 5)
    batches: dict[tuple[int, int], list[int]] = defaultdict(list)
    for text in texts(path):
        name, count, part = map(int, text.split("."))
        batches[name, count].append(part)
    assert [parts for parts in batches.values() if parts != list(range(9))] == []
    for name, count in acknowledged.items():
        stored = [of for writer, of in batches if writer == name]
        assert stored[:count] == list(range(count))
        assert len(stored) <= count + 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_opens_connections_of_its_own(path: str) -> None:
    """Parent and child write on, through handles of before and after the fork, and both exit cleanly."""
    said = said_by(
        """
            history = SQLiteChatMessageHistory("s", path)
            history.add_messages(humans("before"))
            loop = asyncio.new_event_loop()
            loop.run_until_complete(history.aadd_messages(humans("async before")))
            child = os.fork()
            if child == 0:
                history.add_messages(humans("child"))
                asyncio.run(history.aadd_messages(humans("async child")))
                assert len(texts(SQLiteChatMessageHistory("s", path).messages)) == 4
                sys.exit(0)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
            history.add_messages(humans("parent"))
            loop.run_until_complete(history.aadd_messages(humans("async parent")))
            say("|".join(texts(history.messages)))
            loop.close()
            """,
        path,
    )
    assert said == ["before|async before|child|async child|parent|async parent"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.parametrize(
    "way", ["history.add_messages(humans('x'))", "asyncio.run(history.aadd_messages(humans('x')))"]
)
def test_a_child_forked_while_others_write_can_write(path: str, way: str) -> None:
    """SQLite hands its record of locks on: none may be held at that moment by a thread that the child lacks."""
    said = said_by(
        f"""
            import threading
            history = SQLiteChatMessageHistory("s", path)
            history.add_messages(humans("before"))
            over = threading.Event()
            def write():
                while not over.is_set():
                    {way}
            writers = [threading.Thread(target=write) for _ in range(2)]
            for writer in writers:
                writer.start()
            failed = 0
            for number in range(20):
                child = os.fork()
                if child == 0:
                    SQLiteChatMessageHistory("t", path, busy_timeout=5.0).add_messages(humans(str(number)))
                    os._exit(0)
                failed += os.waitpid(child, 0)[1] != 0
            over.set()
            for writer in writers:
                writer.join()
            say(str(failed))
            say("|".join(texts(SQLiteChatMessageHistory("t", path).messages)))
            """,
        path,
    )
    assert said == ["0", "|".join(map(str, range(20)))]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_connection_of_the_caller_is_refused_after_a_fork(path: str) -> None:
    """SQLite forbids its use in the child, so the history doesn't touch it there."""
    said = said_by(
        """
            import sqlite3
            from chathistory.reference import StoreError
            connection = sqlite3.connect(path)
            history = SQLiteChatMessageHistory("s", connection)
            history.add_messages(humans("a"))
            child = os.fork()
            if child == 0:
                try:
                    history.add_messages(humans("b"))
                except StoreError as error:
                    say(str(error))
                os._exit(0)
            os.waitpid(child, 0)
            say("|".join(texts(history.messages)))
            connection.close()
            """,
        path,
    )
    assert "opened before a fork" in said[0]
    assert said[1:] == ["a"]


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_program_that_forgets_to_close_still_exits(path: str, ending: str) -> None:
    """After use in two event loops, one of them never closed, and without a warning."""
    with running(PRELUDE, FORGETS_TO_CLOSE + ending, path) as program:
        out, err = program.communicate(timeout=SECONDS)
    assert (out, program.returncode) == ("", 0)
    assert err == "" or "daemon" in ending
    late = ["late"] * ("late" in ending)
    assert [text for text in texts(path) if text != "daemon"] == ["sync", "first loop", "second loop", *late]


def test_a_loop_closed_during_a_call_leaves_the_history_usable(path: str) -> None:
    """Against all rules of asyncio; batches are whole, no lock is left, and the next loop works."""
    with running(PRELUDE, CLOSES_A_LOOP_DURING_A_CALL, path) as program:
        # asyncio and aiosqlite complain of it, rightly, so what is on stderr is not looked at.
        out, _ = program.communicate(timeout=SECONDS)
    assert (out.splitlines(), program.returncode) == (["a|b|c"], 0)
