"""The SQLite history keeps what it is told, in files that it shares with others and may find in any state."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from tests.interruptions import elsewhere, interrupted

from chathistory.adapters.sqlite import SQLiteChatMessageHistory
from chathistory.reference import (
    DamagedMessageError,
    NotAMessageError,
    StoreError,
    UnstorableValueError,
    same_value,
)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """Where the database will be."""
    return str(tmp_path / "history.db")


def texts(history: SQLiteChatMessageHistory) -> list[Any]:
    """The contents of a history."""
    return [message.content for message in history.messages]


def humans(*contents: str) -> list[BaseMessage]:
    """A batch of these contents."""
    return [HumanMessage(content) for content in contents]


@contextlib.contextmanager
def raw(path: str) -> Iterator[sqlite3.Connection]:
    """A connection of somebody else, who waits for no lock."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        yield connection


def open_files(prefix: str) -> list[str]:
    """The files that this process has open under a path, where the system tells."""
    links = Path("/proc/self/fd").iterdir() if Path("/proc/self/fd").is_dir() else ()
    found = []
    for link in links:
        with contextlib.suppress(OSError):
            found.append(str(link.readlink()))
    return [name for name in found if name.startswith(prefix)]


# What is read is what was added.


def test_every_handle_reads_what_any_of_them_added(path: str) -> None:
    """Handles on one session, opened before or after, see one history in order."""
    before = SQLiteChatMessageHistory("s", path)
    assert before.messages == []
    batch = [HumanMessage("a"), AIMessage("b", tool_calls=[{"name": "f", "args": {"x": 1.0}, "id": "1"}])]
    SQLiteChatMessageHistory("s", f"sqlite:///{path}").add_messages(batch)
    before.add_message(ToolMessage("c", tool_call_id="1", artifact={"deep": [None, True]}))
    after = SQLiteChatMessageHistory("s", f"sqlite+aiosqlite:///{path}")
    assert same_value(after.messages[:2], batch)
    assert texts(after) == texts(before) == ["a", "b", "c"]


def test_adding_its_own_messages_doubles_the_history(path: str) -> None:
    """`add_messages(h.messages)` ends and doubles, also when given as a generator over the history."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("a", "b"))
    history.add_messages(history.messages)
    history.add_messages(message for message in history.messages)
    assert texts(history) == ["a", "b"] * 4


def test_long_batches_keep_their_order(path: str) -> None:
    """Ten thousand messages in one batch, and a megabyte in one message, come back in order and whole."""
    history = SQLiteChatMessageHistory("s", path)
    contents = [str(number) for number in range(10_000)] + ["é" * 1_000_000]
    history.add_messages(humans(*contents))
    assert texts(history) == contents


def test_assigning_replaces_everything_at_once(path: str) -> None:
    """No reader sees the history between its old and its new messages."""
    history, other = SQLiteChatMessageHistory("s", path), SQLiteChatMessageHistory("other", path)
    other.add_user_message("kept")
    history.messages = humans("old")
    over = threading.Event()
    seen: set[tuple[Any, ...]] = set()

    def read() -> None:
        mine = SQLiteChatMessageHistory("s", path)
        while not over.is_set():
            seen.add(tuple(texts(mine)))

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(50):
        history.messages = humans("a", "b", "c") if number % 2 else humans("old")
    over.set()
    reader.join()
    assert seen <= {("old",), ("a", "b", "c")}
    history.messages = []
    assert texts(history) == []
    assert texts(other) == ["kept"]


def test_an_assignment_that_fails_keeps_the_old_messages(path: str) -> None:
    """A trigger that refuses the third insertion stands for any failure in the middle of a transaction."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("a", "b"))
    with raw(path) as connection:
        connection.execute(
            "CREATE TRIGGER refuse BEFORE INSERT ON message_store WHEN NEW.message LIKE '%bomb%' "
            "BEGIN SELECT RAISE(ABORT, 'no bombs'); END"
        )
    with pytest.raises(StoreError, match=r"session 's': could not replace .*no bombs"):
        history.messages = humans("x", "bomb")
    with pytest.raises(StoreError, match="no bombs"):
        history.add_messages(humans("x", "y", "bomb"))
    assert texts(history) == ["a", "b"]
    history.add_messages(humans("c"))
    assert texts(history) == ["a", "b", "c"]


def test_what_is_refused_leaves_no_trace(path: str) -> None:
    """Neither what is no message nor what can't be stored exactly stores anything of its batch."""
    history = SQLiteChatMessageHistory("s", path)
    with pytest.raises(NotAMessageError):
        history.add_messages([HumanMessage("a"), "b"])  # type: ignore[list-item]
    with pytest.raises(UnstorableValueError):
        history.add_messages([HumanMessage("a"), HumanMessage("b", additional_kwargs={"x": float("nan")})])
    with pytest.raises(NotAMessageError):
        history.messages = [None]  # type: ignore[list-item]
    assert history.messages == []


def test_an_empty_batch_does_not_touch_the_store(tmp_path: Path) -> None:
    """Nothing to add is nothing that could fail."""
    SQLiteChatMessageHistory("s", tmp_path / "missing" / "x.db").add_messages([])


def test_reading_and_clearing_an_unwritten_session_leaves_no_rows(path: str) -> None:
    """A session exists by its messages alone."""
    history = SQLiteChatMessageHistory("s", path)
    assert history.messages == []
    history.clear()
    with raw(path) as connection:
        assert connection.execute("SELECT count(*) FROM message_store").fetchone() == (0,)


def test_what_is_added_after_clear_is_all_there_is(path: str) -> None:
    """SQLite gives the ids of removed rows anew; order and neighbours don't suffer by it."""
    history, other = SQLiteChatMessageHistory("s", path), SQLiteChatMessageHistory("other", path)
    other.add_messages(humans("1"))
    history.add_messages(humans("a", "b"))
    history.clear()
    other.add_messages(humans("2"))
    history.add_messages(humans("c"))
    other.add_messages(humans("3"))
    assert (texts(history), texts(other)) == (["c"], ["1", "2", "3"])


def test_ids_that_are_used_up_are_refused_and_not_drawn_by_lot(path: str) -> None:
    """After the largest id SQLite would pick random ones, and messages would appear in the middle."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("a"))
    with raw(path) as connection:
        connection.execute("UPDATE message_store SET id = 9223372036854775806")
    history.add_messages(humans("b"))
    with pytest.raises(StoreError, match="largest id"):
        history.add_messages(humans("c", "d"))
    assert texts(history) == ["a", "b"]


# Session ids and names.

SESSION_IDS = [
    *("", " ", "a", "A", "a ", " a", "1", "01", "1.0", "1e0", "%", "_", "*", "a%", "a\0b", "a\0c", "\n"),
    *("\u00e9", "e\u0301", "'; DROP TABLE message_store; --", '"', "../x", "x" * 4096, "x" * 4095 + "y"),
    *("\U0001f600", "\ufeff", "?1", ":a", "NULL", "0x1"),
]


def test_session_ids_are_compared_exactly(path: str) -> None:
    """Ids that differ in anything are different sessions, for reads and for clears."""
    for session_id in SESSION_IDS:
        SQLiteChatMessageHistory(session_id, path).add_user_message(session_id)
    assert [texts(SQLiteChatMessageHistory(each, path)) for each in SESSION_IDS] == [[s] for s in SESSION_IDS]
    for number, session_id in enumerate(SESSION_IDS):
        SQLiteChatMessageHistory(session_id, path).clear()
        left = [texts(SQLiteChatMessageHistory(each, path)) for each in SESSION_IDS]
        assert left == [[] if index <= number else [s] for index, s in enumerate(SESSION_IDS)]


def test_another_session_can_be_assigned(path: str) -> None:
    """As to the old class; what can't be one is refused, and changes nothing."""
    history = SQLiteChatMessageHistory("a", path)
    history.add_messages(humans("in a"))
    history.session_id = "b"
    history.add_messages(humans("in b"))
    with pytest.raises(TypeError, match="session_id must be a str"):
        history.session_id = None  # type: ignore[assignment]
    assert (history.session_id, texts(history)) == ("b", ["in b"])
    assert texts(SQLiteChatMessageHistory("a", path)) == ["in a"]


def test_session_ids_that_sqlite_cannot_hold_are_refused_at_once(path: str) -> None:
    """A lone surrogate is a ValueError, no str a TypeError, and no file is made."""
    with pytest.raises(ValueError, match="lone surrogate"):
        SQLiteChatMessageHistory("a\ud800", path)
    with pytest.raises(TypeError, match="session_id must be a str, got int"):
        SQLiteChatMessageHistory(1, path)  # type: ignore[arg-type]
    assert not Path(path).exists()


NAMES = ['"', '""; DROP TABLE x; --', "a b", "ä", "select", "main.message_store", "'", "[x]", "`", "?1", "\n"]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_table_and_column_names_work_exactly(path: str, name: str) -> None:
    """Any text is a name once it is quoted, and no name reaches into another table."""
    plain = SQLiteChatMessageHistory("s", path)
    plain.add_user_message("plain")
    odd = SQLiteChatMessageHistory("s", path, table_name=name, session_id_field_name=name)
    odd.add_messages(humans("odd", "odd"))
    odd.messages = humans("odd")
    assert (texts(odd), texts(plain)) == (["odd"], ["plain"])
    odd.clear()
    assert (texts(odd), texts(plain)) == ([], ["plain"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"table_name": ""}, ValueError),
        ({"table_name": "a\0b"}, ValueError),
        ({"table_name": "\ud800"}, ValueError),
        ({"table_name": "sqlite_x"}, ValueError),
        ({"table_name": "JSON_each"}, ValueError),
        ({"table_name": None}, TypeError),
        ({"session_id_field_name": "ID"}, ValueError),
        ({"session_id_field_name": "message"}, ValueError),
        ({"busy_timeout": -1}, ValueError),
        ({"busy_timeout": float("nan")}, ValueError),
        ({"busy_timeout": "5"}, TypeError),
        ({"engine_args": {"echo": True}}, ValueError),
        ({"custom_message_converter": object()}, ValueError),
        ({"async_mode": "yes"}, TypeError),
    ],
)
def test_arguments_that_cannot_be_honoured_are_refused(
    path: str, arguments: dict[str, Any], error: type[Exception]
) -> None:
    """No argument is ignored in silence, and the error names it."""
    with pytest.raises(error, match=next(iter(arguments))):
        SQLiteChatMessageHistory("s", path, **arguments)


def test_names_that_differ_only_by_case_are_different_tables(path: str) -> None:
    """SQLite takes them for one, so whichever comes later is kept under a name that spells its case out."""
    names = ["notes", "Notes", "NOTES", "nOTES"]
    for name in names:
        SQLiteChatMessageHistory("s", path, name).add_user_message(name)
        asyncio.run(SQLiteChatMessageHistory("s", path, name).aadd_messages(humans("async")))
    assert [texts(SQLiteChatMessageHistory("s", path, name)) for name in names] == [[name, "async"] for name in names]
    with raw(path) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        assert tables == [("notes",), ("Notes (case 1)",), ("NOTES (case 1f)",), ("nOTES (case 1e)",)]
        connection.execute('DROP TABLE "notes"')
    assert texts(SQLiteChatMessageHistory("s", path, "Notes")) == ["Notes", "async"]


def test_names_that_spell_out_a_case_are_refused(path: str) -> None:
    """They would reach into the table of another name."""
    with pytest.raises(ValueError, match="reserved"):
        SQLiteChatMessageHistory("s", path, "Notes (CASE 1)")


# What `connection` may be.


@pytest.mark.parametrize(
    "connection",
    [
        *(":memory:", "sqlite://", "sqlite:///", "sqlite:///:memory:", "sqlite+aiosqlite:///:memory:", ""),
        *(
            "sqlite://host/x.db",
            "sqlite:///x.db?timeout=5",
            "sqlite:///a%20b.db",
            "file:x.db?mode=ro",
            "a\0b",
        ),
        "postgresql://user:secret@host/db",
    ],
)
def test_connections_that_name_no_file_are_refused(connection: str) -> None:
    """The error says what to pass instead, and repeats no URL, which may hold a password."""
    with pytest.raises(ValueError, match="connection: ") as caught:
        SQLiteChatMessageHistory("s", connection)
    assert "secret" not in str(caught.value)


def test_engines_are_refused_with_a_word_of_what_to_pass(path: str) -> None:
    """Whatever an engine was configured to do would be lost."""
    with pytest.raises(TypeError, match=r"got object; .* pass the URL or the path"):
        SQLiteChatMessageHistory("s", object())  # type: ignore[arg-type]


def test_relative_paths_keep_their_meaning_when_the_process_moves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path is made absolute when the handle is opened."""
    monkeypatch.chdir(tmp_path)
    history = SQLiteChatMessageHistory("s", "sqlite:///here.db")
    monkeypatch.chdir("/")
    history.add_user_message("a")
    assert (tmp_path / "here.db").exists()
    assert texts(SQLiteChatMessageHistory("s", tmp_path / "here.db")) == ["a"]


def test_the_old_name_of_connection_is_taken_with_a_warning(path: str) -> None:
    """`connection_string` still works for those who swap classes, but not beside `connection`."""
    with pytest.warns(DeprecationWarning, match="pass connection"):
        history = SQLiteChatMessageHistory("s", connection_string=f"sqlite:///{path}")
    history.add_user_message("a")
    assert texts(history) == ["a"]
    with pytest.raises(TypeError, match="pass one of them"):
        SQLiteChatMessageHistory("s", path, connection_string=path)


# Tables of langchain-community's class.


@pytest.fixture
def peer() -> Any:
    """The class that users of SQLite have today."""
    return pytest.importorskip("langchain_community.chat_message_histories.sql").SQLChatMessageHistory


@pytest.mark.filterwarnings("ignore")
def test_a_table_of_the_peer_is_read_extended_and_still_read_by_the_peer(path: str, peer: Any) -> None:
    """Both classes may use a table at once, and find each other's messages in order."""
    theirs = peer("s", connection=f"sqlite:///{path}", table_name="chats")
    theirs.add_messages([HumanMessage("a"), AIMessage("b", tool_calls=[{"name": "f", "args": {}, "id": "1"}])])
    ours = SQLiteChatMessageHistory("s", f"sqlite:///{path}", "chats")
    assert ours.messages == theirs.messages
    ours.add_messages([ToolMessage("c", tool_call_id="1"), HumanMessage("d", additional_kwargs={"k": ["é"]})])
    theirs.add_message(HumanMessage("e"))
    assert texts(ours) == ["a", "b", "c", "d", "e"]
    assert theirs.messages == ours.messages
    theirs.engine.dispose()


@pytest.mark.filterwarnings("ignore")
def test_our_table_is_taken_by_the_peer(path: str, peer: Any) -> None:
    """Going back is as easy as coming."""
    ours = SQLiteChatMessageHistory("s", f"sqlite:///{path}")
    ours.add_messages(humans("a"))
    theirs = peer("s", connection=f"sqlite:///{path}")
    theirs.add_message(AIMessage("b"))
    assert theirs.messages == ours.messages == [HumanMessage("a"), AIMessage("b")]
    theirs.engine.dispose()


def test_an_old_table_gets_an_index_and_the_write_ahead_log(path: str) -> None:
    """Reading one session must not mean reading all of them."""
    with raw(path) as connection:
        connection.execute(
            "CREATE TABLE message_store (id INTEGER NOT NULL, session_id TEXT, message TEXT, PRIMARY KEY (id))"
        )
    assert SQLiteChatMessageHistory("s", path).messages == []
    with raw(path) as connection:
        plan = connection.execute(
            "EXPLAIN QUERY PLAN SELECT * FROM message_store WHERE session_id = 's' ORDER BY id"
        ).fetchall()
        assert [row[3] for row in plan] == [
            "SEARCH message_store USING INDEX ix_message_store_session_id (session_id=?)"
        ]
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_an_old_database_that_somebody_reads_keeps_its_journal_and_works(path: str) -> None:
    """The write-ahead log can't be switched on under a reader; every promise holds without it."""
    with raw(path) as connection:
        connection.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
        connection.execute("CREATE INDEX ix_message_store_session_id ON message_store (session_id)")
        connection.execute("BEGIN")
        connection.execute("SELECT * FROM message_store").fetchall()
        history = SQLiteChatMessageHistory("s", path)
        assert history.messages == []
        connection.execute("COMMIT")
        history.add_messages(humans("a", "b"))
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert texts(history) == ["a", "b"]


def test_old_columns_of_other_collations_are_compared_exactly(path: str) -> None:
    """NOCASE on the column doesn't make `a` and `A` one session."""
    with raw(path) as connection:
        connection.execute(
            "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id VARCHAR(9) COLLATE NOCASE, message)"
        )
    for session_id in ("a", "A", "01", "1"):
        SQLiteChatMessageHistory(session_id, path).add_user_message(session_id)
    SQLiteChatMessageHistory("A", path).clear()
    found = {each: texts(SQLiteChatMessageHistory(each, path)) for each in ("a", "A", "01", "1")}
    assert found == {"a": ["a"], "A": [], "01": ["01"], "1": ["1"]}


@pytest.mark.parametrize(
    ("ddl", "complaint"),
    [
        ("CREATE TABLE message_store (id INTEGER PRIMARY KEY, message TEXT)", "has no column 'session_id'"),
        ("CREATE TABLE message_store (session_id TEXT, message TEXT)", "has no column 'id'"),
        ("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id INT, message TEXT)", "use TEXT"),
        (
            "CREATE TABLE message_store (id TEXT, session_id TEXT, message TEXT)",
            "table 'message_store' .* column 'id' is no integer, .* INTEGER PRIMARY KEY",
        ),
        ("CREATE VIEW message_store AS SELECT 1 AS id, 's' AS session_id, 'x' AS message", "a view"),
    ],
)
def test_tables_of_another_shape_are_refused(path: str, ddl: str, complaint: str) -> None:
    """A column that is missing is no string, numbers don't turn 01 into 1, and texts don't put id 10 before 2."""
    with raw(path) as connection:
        connection.execute(ddl)
    for use in (
        lambda: SQLiteChatMessageHistory("session_id", path).messages,
        SQLiteChatMessageHistory("s", path).clear,
    ):
        with pytest.raises(StoreError, match=complaint):
            use()


def test_a_database_of_utf_16_is_read_and_written(path: str) -> None:
    """How SQLite stores text is its own affair."""
    with raw(path) as connection:
        connection.execute("PRAGMA encoding = 'UTF-16le'")
        connection.execute("CREATE TABLE other (x)")
    history = SQLiteChatMessageHistory("é\0", path)
    history.add_messages(humans("ü\0\U0001f600"))
    assert texts(history) == ["ü\0\U0001f600"]


# Errors.


@pytest.mark.parametrize(
    "entry",
    ["{", "[]", "null", "", None, 1, b"\xff\xfe{", '{"type": "spy", "data": {}}', b'{"type": "\xff"}'],
)
def test_a_damaged_row_is_named_and_left_alone(path: str, entry: object) -> None:
    """The error names session, table and row; other sessions are read, and the session can be cleared."""
    history, other = SQLiteChatMessageHistory("s", path), SQLiteChatMessageHistory("other", path)
    history.add_messages(humans("a"))
    other.add_messages(humans("fine"))
    with raw(path) as connection:
        connection.execute("INSERT INTO message_store VALUES (77, 's', ?)", (entry,))
    with pytest.raises(DamagedMessageError, match=r"session 's': row 77 of table 'message_store' of .* is no message"):
        history.messages  # noqa: B018 -- reading is the action
    assert texts(other) == ["fine"]
    history.clear()
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]


def test_text_that_is_no_utf_8_is_a_damaged_row(path: str) -> None:
    """Not an error of the driver that names nothing and shows the contents."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("a"))
    with raw(path) as connection:
        connection.execute("UPDATE message_store SET message = CAST(x'7b22ff' AS TEXT)")
    with pytest.raises(DamagedMessageError, match="row 1 of"):
        history.get_messages()


def test_a_locked_database_is_an_error_in_time_and_usable_afterwards(path: str) -> None:
    """The busy timeout is kept, the error says what happened, and reads don't wait for a writer."""
    history = SQLiteChatMessageHistory("s", path, busy_timeout=0.1)
    history.add_messages(humans("a"))
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        for write in (lambda: history.add_messages(humans("b")), history.clear):
            with pytest.raises(StoreError, match=r"session 's': .*database is locked \(another connection"):
                write()
        with pytest.raises(StoreError, match="database is locked"):
            asyncio.run(history.aadd_messages(humans("b")))
        assert texts(history) == ["a"]
        connection.execute("COMMIT")
    history.add_messages(humans("c"))
    assert texts(history) == ["a", "c"]


def test_a_lock_that_is_released_in_time_is_waited_for(path: str) -> None:
    """A write that met a lock is carried out once, after it."""
    history = SQLiteChatMessageHistory("s", path, busy_timeout=30)
    history.add_messages(humans("a"))
    with raw(path) as connection:
        connection.execute("BEGIN IMMEDIATE")
        writer = threading.Thread(target=history.add_messages, args=(humans("b", "c"),))
        writer.start()
        assert texts(history) == ["a"]
        connection.execute("COMMIT")
        writer.join()
    assert texts(history) == ["a", "b", "c"]


def test_a_missing_directory_is_an_error_until_it_is_there(tmp_path: Path) -> None:
    """The error names session, file and cause, and the same handle works once the cause is gone."""
    history = SQLiteChatMessageHistory("s", tmp_path / "missing" / "x.db")
    with pytest.raises(StoreError, match=r"'s': could not read .*missing/x.db: unable to open .*directory exist"):
        history.get_messages()
    with pytest.raises(StoreError, match="unable to open"):
        asyncio.run(history.aget_messages())
    (tmp_path / "missing").mkdir()
    history.add_messages(humans("a"))
    assert texts(history) == ["a"]


def test_a_file_that_is_no_database_is_left_alone(path: str) -> None:
    """Somebody gave the wrong path; the file keeps its contents."""
    Path(path).write_text("a letter to my aunt, and by no means a database" * 100)
    before = Path(path).read_bytes()
    with pytest.raises(StoreError, match="file is not a database"):
        SQLiteChatMessageHistory("s", path).add_user_message("a")
    assert Path(path).read_bytes() == before


def test_a_full_disk_refuses_the_batch_and_keeps_the_rest(path: str) -> None:
    """A limit on the pages of the database stands for the end of the disk."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        history = SQLiteChatMessageHistory("s", connection)
        history.add_messages(humans("a"))
        connection.execute("PRAGMA max_page_count = 20")
        with pytest.raises(StoreError, match="disk is full"):
            history.add_messages(humans("b", "x" * 1_000_000))
        history.add_messages(humans("c"))
        assert texts(history) == ["a", "c"]


@contextlib.contextmanager
def unwritable(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Connections opened in this block get their file for reading only, as SQLite does where it may not write."""
    connect = sqlite3.connect
    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options))
        yield


def test_a_file_that_could_not_be_written_can_be_as_soon_as_it_may(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it was read or written meanwhile, by sync or async calls: no connection stays as it was opened."""
    with raw(path) as connection:
        connection.execute("CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT)")
    history = SQLiteChatMessageHistory("s", path)

    async def in_one_loop() -> None:
        with unwritable(monkeypatch):
            assert len(await history.aget_messages()) == 2
            with pytest.raises(StoreError, match="attempt to write a readonly database"):
                await history.aadd_messages(humans("c"))
            assert len(await history.aget_messages()) == 2
        await history.aadd_messages(humans("c"))

    with unwritable(monkeypatch):
        assert history.messages == []
        with pytest.raises(StoreError, match="attempt to write a readonly database"):
            history.add_messages(humans("a"))
        assert history.messages == []
    history.add_messages(humans("a"))
    history.messages = [*history.messages, *humans("b")]
    asyncio.run(in_one_loop())
    assert texts(history) == ["a", "b", "c"]


def test_a_table_that_was_dropped_is_made_again(path: str) -> None:
    """A handle outlives the housekeeping of others."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("a"))
    with raw(path) as connection:
        connection.execute("DROP TABLE message_store")
    assert history.messages == []
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]


def test_a_file_that_was_removed_is_not_written_to_any_more(path: str) -> None:
    """Messages never go into a file that nobody can find: handles follow the path, old and new ones alike."""
    old = SQLiteChatMessageHistory("s", path)
    old.add_messages(humans("a"))
    asyncio.run(old.aadd_messages(humans("b")))
    for end in ("", "-wal", "-shm"):
        Path(path + end).unlink(missing_ok=True)
    assert old.messages == []
    old.add_messages(humans("c"))
    asyncio.run(old.aadd_messages(humans("d")))
    assert texts(SQLiteChatMessageHistory("s", path)) == texts(old) == ["c", "d"]


def test_a_file_that_was_replaced_is_the_one_that_is_used(path: str, tmp_path: Path) -> None:
    """A restored backup is seen by every handle, whether it was open before or not."""
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("new"))
    asyncio.run(history.aadd_messages(humans("newer")))
    with SQLiteChatMessageHistory("s", tmp_path / "backup.db") as backup:
        backup.add_messages(humans("old"))
    for end in ("-wal", "-shm"):
        Path(path + end).unlink()
    (tmp_path / "backup.db").replace(path)
    assert texts(history) == ["old"]
    history.add_messages(humans("a"))
    asyncio.run(history.aadd_messages(humans("b")))
    assert texts(SQLiteChatMessageHistory("s", path)) == ["old", "a", "b"]


# Lifetimes.


def test_ten_thousand_handles_leak_no_connection(path: str) -> None:
    """Handles on one file share its connections, so opening one per call is cheap."""
    for number in range(10_000):
        history = SQLiteChatMessageHistory(str(number), path)
        if number % 100 == 0:
            history.add_user_message("a")
    assert len(open_files(path)) <= 3


def test_a_file_per_user_does_not_use_up_the_file_descriptors(tmp_path: Path) -> None:
    """Files whose handles are gone are closed, though nobody closed a handle."""
    for number in range(40):
        SQLiteChatMessageHistory("s", tmp_path / f"{number}.db").add_user_message("a")
    still_open = {name.split(".db")[0] for name in open_files(str(tmp_path))}
    assert len(still_open) <= 20


def test_the_last_handle_closed_closes_the_file(path: str) -> None:
    """Nothing of SQLite's is left open or lying about, and a closed handle says so."""
    first = SQLiteChatMessageHistory("s", path)
    with SQLiteChatMessageHistory("s", path) as second:
        second.add_user_message("a")
        asyncio.run(second.aadd_messages(humans("b")))
    assert texts(first) == ["a", "b"]
    first.close()
    first.close()
    assert open_files(path) == []
    assert not Path(path + "-wal").exists()
    with pytest.raises(StoreError, match=r"session 's': .*this handle is closed"):
        first.get_messages()
    assert texts(SQLiteChatMessageHistory("s", path)) == ["a", "b"]


def test_threads_on_one_handle_lose_nothing(path: str) -> None:
    """Eight threads that share a handle: every message there once, batches whole, each thread's in order."""
    history = SQLiteChatMessageHistory("s", path)

    def write(thread: int) -> None:
        for number in range(20):
            history.add_messages(humans(f"{thread}.{number}.a", f"{thread}.{number}.b"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = texts(history)
    assert all(found[index][:-1] == found[index + 1][:-1] for index in range(0, len(found), 2))
    for thread_number in range(8):
        mine = [text for text in found if text.startswith(f"{thread_number}.")]
        assert mine == [f"{thread_number}.{number}.{half}" for number in range(20) for half in "ab"]


OPERATIONS: dict[str, Callable[[SQLiteChatMessageHistory], object]] = {
    "add": lambda history: history.add_messages(humans("b", "c")),
    "read": lambda history: history.messages,
    "assignment": lambda history: setattr(history, "messages", humans("b", "c")),
    "clear": lambda history: history.clear(),
}


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("is_given", [False, True])
def test_a_signal_that_raises_during_a_call_stops_no_other_call(path: str, name: str, is_given: bool) -> None:
    """Ctrl-C, or a task queue's time limit, at whatever moment it comes: no lock stays held, and batches are whole."""
    given = sqlite3.connect(path, check_same_thread=False, isolation_level=None) if is_given else path
    history = SQLiteChatMessageHistory("s", given, busy_timeout=1)
    other = SQLiteChatMessageHistory("other", given, busy_timeout=1)
    history.add_messages(humans("a"))
    for _ in interrupted(lambda: OPERATIONS[name](history)):
        elsewhere(lambda: other.add_messages(humans("x")))
        assert texts(history) in (["a"], ["a", "b", "c"], ["b", "c"], [])
        history.messages = humans("a")
    history.close()
    if isinstance(given, sqlite3.Connection):
        given.close()


def test_first_use_by_many_threads_at_once_works(path: str) -> None:
    """Sixteen handles opened at the same moment on a file that doesn't exist yet."""
    barrier = threading.Barrier(16)
    errors: list[BaseException] = []

    def use(number: int) -> None:
        barrier.wait()
        try:
            SQLiteChatMessageHistory("s", path, f"table {number % 3}").add_user_message(str(number))
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = [text for table in range(3) for text in texts(SQLiteChatMessageHistory("s", path, f"table {table}"))]
    assert sorted(found, key=int) == [str(number) for number in range(16)]


def test_importing_the_class_imports_no_driver_and_no_suite() -> None:
    """Sync users need neither aiosqlite nor what checking needs."""
    script = (
        "import sys; import chathistory.adapters.sqlite; "
        "print([name for name in ('aiosqlite', 'hypothesis', 'pytest', 'chathistory.conformance') "
        "if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(  # noqa: S603 -- our own script
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert (done.stdout.strip(), done.returncode) == ("[]", 0)


def test_async_methods_without_aiosqlite_say_what_to_install(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sync methods go on working."""
    monkeypatch.setitem(sys.modules, "aiosqlite", None)
    history = SQLiteChatMessageHistory("s", path)
    with pytest.raises(ImportError, match=r'pip install "chathistory\[sqlite\]"'):
        asyncio.run(history.aadd_messages(humans("a")))
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]


@pytest.mark.parametrize("answer", ["ABORT", "FAIL", "IGNORE", "REPLACE", "ROLLBACK"])
def test_a_constraint_of_the_users_own_refuses_the_whole_batch(path: str, answer: str) -> None:
    """Whatever it says of conflicts: nothing is skipped, replaced or left of a batch that fails (ATM-1)."""
    with raw(path) as connection:
        connection.execute(
            "CREATE TABLE message_store (id INTEGER PRIMARY KEY, session_id TEXT, message TEXT, "
            f"UNIQUE (session_id, message) ON CONFLICT {answer})"
        )
    history = SQLiteChatMessageHistory("s", path)
    history.add_messages(humans("first"))
    with pytest.raises(StoreError):
        history.add_messages(humans("a", "same", "same"))
    assert texts(history) == ["first"]
