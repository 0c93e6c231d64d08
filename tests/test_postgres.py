"""The PostgreSQL history keeps what it is told, in tables that it shares with others and may find in any state."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import Any

import psycopg
import pytest
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from psycopg import sql
from tests.postgres_database import database, humans, new_table, opened, raw, running, server, texts

from chathistory.adapters.postgres import PostgresChatMessageHistory
from chathistory.reference import (
    DamagedMessageError,
    NotAMessageError,
    StoreError,
    UnstorableValueError,
    same_value,
)

HARD_VALUES: dict[str, Any] = {
    "large float": 1e22,
    "float without a fraction": 1.0,
    "negative zero": -0.0,
    "smallest float": 5e-324,
    "largest float": 1.7976931348623157e308,
    "huge int": 10**3000,
    "key order": {"zz": 1, "a": {"long": 1, "b": 2}, "": 3},
    "NUL": "a\0b",
    "NUL in a key": {"a\0": 1, "a": 2},
    "lone surrogate": "a\ud800",
    "lone surrogate in a key": {"\udfff": 1},
    "what looks like an escape": "\\u0000 \\ud800",
    "emoji": "\U0001f600",
    "what looks like the exact text": {"exact": '{"type": "human"}'},
}


@pytest.fixture
def table() -> str:
    """A table that create_tables made."""
    return new_table()


def rows(table: str, expression: str = "message->'data'->>'content'") -> list[Any]:
    """What SQL sees of the rows of a table, in order."""
    query = f"SELECT {expression} FROM {{}} ORDER BY id"  # noqa: S608 -- our own
    with raw() as connection:
        return [value for (value,) in connection.execute(sql.SQL(query).format(sql.Identifier(table))).fetchall()]


def executed(statement: str, table: str, *parameters: Any) -> None:
    """Have somebody else do something to a table."""
    with raw() as connection:
        connection.execute(sql.SQL(statement).format(sql.Identifier(table)), parameters or None)


# What is read is what was added.


def test_every_handle_reads_what_any_of_them_added(table: str) -> None:
    """Handles on one session, opened before or after, see one history in order."""
    before = opened(table)
    assert before.messages == []
    batch = [HumanMessage("a"), AIMessage("b", tool_calls=[{"name": "f", "args": {"x": 1.0}, "id": "1"}])]
    opened(table).add_messages(batch)
    before.add_message(ToolMessage("c", tool_call_id="1", artifact={"deep": [None, True]}))
    after = opened(table)
    assert same_value(after.messages[:2], batch)
    assert texts(after) == texts(before) == [message.content for message in after.get_messages()] == ["a", "b", "c"]


def test_adding_its_own_messages_doubles_the_history(table: str) -> None:
    """`add_messages(h.messages)` ends and doubles, also when given as a generator over the history."""
    history = opened(table)
    history.add_messages(humans("a", "b"))
    history.add_messages(history.messages)
    history.add_messages(message for message in history.messages)
    assert texts(history) == ["a", "b"] * 4


def test_long_batches_keep_their_order(table: str) -> None:
    """Ten thousand messages in one batch, and a megabyte in one message, come back in order and whole."""
    history = opened(table)
    contents = [str(number) for number in range(10_000)] + ["é" * 1_000_000]
    history.add_messages(humans(*contents))
    assert texts(history) == contents
    history.messages = history.messages[::-1]
    assert texts(history) == contents[::-1]


@pytest.mark.parametrize("column", ["json", "jsonb"])
@pytest.mark.parametrize("value", HARD_VALUES.values(), ids=HARD_VALUES)
def test_values_that_postgres_would_alter_come_back_exactly(table: str, column: str, value: Any) -> None:
    """Of the type, in the order and with the characters they had, in columns of either type, however added."""
    executed(f"ALTER TABLE {{}} ALTER COLUMN message TYPE {column}", table)
    message = HumanMessage("hello", additional_kwargs={"value": value}, name=value if isinstance(value, str) else None)
    history = opened(table)
    history.add_messages([message])
    history.add_messages([message, message])
    assert same_value(history.messages, [message] * 3)
    history.messages = [message] * 2
    found = history.messages
    assert same_value(found, [message] * 2)
    assert json.dumps(found[0].additional_kwargs) == json.dumps(message.additional_kwargs)
    assert rows(table) == ["hello"] * 2


@pytest.mark.parametrize("column", ["json", "jsonb"])
def test_fields_of_any_name_come_back_in_the_order_they_had(table: str, column: str) -> None:
    """Those that no class declares, in columns of either type; the row is readable by SQL (VAL-8)."""
    executed(f"ALTER TABLE {{}} ALTER COLUMN message TYPE {column}", table)
    messages: list[BaseMessage] = [
        HumanMessage("a", zeta=1, al=2),  # type: ignore[call-arg]
        HumanMessage("b", **{"NUL \0": 1}),  # type: ignore[arg-type]
        AIMessage.model_construct(content="c", tool_calls=[{"id": "1", "args": {}, "name": "f"}]),
    ]
    history = opened(table)
    history.add_messages(messages)
    assert same_value(history.messages, messages)
    for found, message in zip(history.messages, messages, strict=True):
        assert list(found.__pydantic_extra__ or ()) == list(message.__pydantic_extra__ or ())
    last = history.messages[2]
    assert isinstance(last, AIMessage)
    assert list(last.tool_calls[0]) == ["id", "args", "name"]
    assert rows(table) == ["a", "b", "c"]


HOSTILE_CONTENTS = [
    *("'); DROP TABLE {}; --", "\\'; DROP TABLE {}; --", "$$; DROP TABLE {}; $$", "', 'hex'), 'UTF8'); --"),
    *("$1", "%s %(x)s", "{session} {0}", "\\x41", "\\u0041", "E'\\\\'", "\x1b[31m", '{"type": "human"}', '"', "a\r\nb"),
]


@pytest.mark.parametrize("options", ["", "-c standard_conforming_strings=off -c backslash_quote=on"])
def test_hostile_contents_are_data(table: str, options: str) -> None:
    """Added or assigned, for whatever server settings, in ids as in contents."""
    contents = [content.replace("{}", f'"{table}"') for content in HOSTILE_CONTENTS]
    with raw(options=options) as connection:
        for session_id in contents:
            history = PostgresChatMessageHistory(table, session_id, sync_connection=connection)
            history.add_messages(humans(*contents))
            history.messages = [*history.messages, *humans(session_id)]
            assert texts(history) == [*contents, session_id]
    assert [texts(opened(table, each)) for each in contents] == [[*contents, each] for each in contents]


@pytest.mark.parametrize("column", ["json", "jsonb"])
def test_rows_are_readable_by_sql_even_where_postgres_has_no_such_text(table: str, column: str) -> None:
    """The row shows a replacement for the character, and the history reads the character."""
    executed(f"ALTER TABLE {{}} ALTER COLUMN message TYPE {column}", table)
    history = opened(table)
    history.add_messages(humans("plain é", "NUL \0", "surrogate \ud800", "\U0001f600"))
    assert rows(table) == ["plain é", "NUL \ufffd", "surrogate \ufffd", "\U0001f600"]
    assert texts(history) == ["plain é", "NUL \0", "surrogate \ud800", "\U0001f600"]


def test_only_what_needs_it_is_stored_twice(table: str) -> None:
    """A JSON column keeps numbers and the order of keys by itself."""
    history = opened(table)
    history.add_messages([HumanMessage("a \U0001f600", additional_kwargs={"b": 1e22, "a": -0.0}), *humans("\0")])
    assert rows(table, "message->>'exact' IS NULL") == [True, False]


def test_a_column_that_changed_its_type_meanwhile_never_alters_a_value(table: str) -> None:
    """A process that has known the table as JSON goes on when somebody makes it JSONB, and the other way round."""
    history = opened(table)
    message = HumanMessage("a", additional_kwargs={"b": 1e22, "a": -0.0})
    history.add_messages([message])
    for column in ["jsonb", "json", "jsonb"]:
        executed(f"ALTER TABLE {{}} ALTER COLUMN message TYPE {column}", table)
        history.add_messages([message])
        assert same_value(history.messages[-1], message)
        history.messages = [message]
        assert same_value(history.messages, [message])


def test_assigning_replaces_everything_at_once(table: str) -> None:
    """No reader sees the history between its old and its new messages."""
    history, other = opened(table), opened(table, "other")
    other.add_user_message("kept")
    history.messages = humans("old")
    over = threading.Event()
    seen: set[tuple[Any, ...]] = set()

    def read() -> None:
        mine = opened(table)
        while not over.is_set():
            seen.add(tuple(texts(mine)))

    with running(read):
        for number in range(50):
            history.messages = humans("a", "b", "c") if number % 2 else humans("old")
        over.set()
    assert seen <= {("old",), ("a", "b", "c")}
    history.messages = []
    assert (history.messages, texts(other)) == ([], ["kept"])


# What fails leaves everything as it was.


def test_a_failure_in_the_middle_undoes_the_whole_call(table: str) -> None:
    """A check that one message of the batch doesn't pass stands for any failure."""
    history = opened(table)
    history.add_messages(humans("a", "b"))
    executed("ALTER TABLE {} ADD CONSTRAINT no_bombs CHECK (message::text NOT LIKE '%bomb%')", table)
    with pytest.raises(StoreError, match=r"session 's': could not replace table .*no_bombs"):
        history.messages = humans("x", "bomb")
    with pytest.raises(StoreError, match="no_bombs"):
        history.add_messages(humans("x", "y", "bomb"))
    assert texts(history) == ["a", "b"]
    history.add_messages(humans("c"))
    assert texts(history) == ["a", "b", "c"]


def test_what_is_refused_leaves_no_trace(table: str) -> None:
    """Neither what is no message nor what can't be stored exactly stores anything of its batch."""
    history = opened(table)
    with pytest.raises(NotAMessageError):
        history.add_messages([HumanMessage("a"), "b"])  # type: ignore[list-item]
    with pytest.raises(UnstorableValueError):
        history.add_messages([HumanMessage("a"), HumanMessage("b", additional_kwargs={"x": float("nan")})])
    with pytest.raises(NotAMessageError):
        history.messages = [None]  # type: ignore[list-item]
    assert history.messages == []


DROPS = "IF NEW.message::text LIKE '%drop%' THEN RETURN NULL; END IF; RETURN NEW;"
ROUTES = "INSERT INTO {child} VALUES (NEW.*); RETURN NULL;"


def with_trigger(table: str, body: str) -> None:
    """Have something done before each row of a table is stored; `{child}` is a table that inherits from it."""
    name, child = sql.Identifier(table), sql.Identifier(f"{table}_child")
    with raw() as connection:
        connection.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL) INHERITS ({})").format(child, name, name))
        text = sql.SQL(body).format(child=child).as_string(connection)
        function = "CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS {body}"
        connection.execute(sql.SQL(function).format(name=name, body=sql.Literal(f"BEGIN {text} END")))
        trigger = "CREATE TRIGGER one BEFORE INSERT ON {name} FOR EACH ROW EXECUTE FUNCTION {name}()"
        connection.execute(sql.SQL(trigger).format(name=name))


@pytest.mark.parametrize(("body", "taken"), [(DROPS, 2), (ROUTES, 0)], ids=["drops one", "routes to a child"])
@pytest.mark.parametrize("kind", ["conninfo", "idle", "autocommit", "in a transaction"])
def test_a_batch_that_a_trigger_does_not_let_in_whole_is_an_error_and_stores_nothing(
    table: str, kind: str, body: str, taken: int
) -> None:
    """A refused assignment leaves the old messages, and the call leaves the connection as it was (ATM-1)."""
    opened(table).add_messages(humans("old"))
    with_trigger(table, body)
    words = rf"session 's': .*the table took {taken} of 3 messages; has it a trigger"
    with psycopg.connect(database(), autocommit=kind == "autocommit") as connection:
        history = PostgresChatMessageHistory(table, "s", sync_connection=connection)
        if kind == "conninfo":
            history = opened(table)
        elif kind == "in a transaction":
            connection.execute("SELECT 1")
        before = connection.pgconn.transaction_status
        with pytest.raises(StoreError, match=words):
            history.add_messages(humans("a", "drop", "c"))
        with pytest.raises(StoreError, match=words):
            history.messages = humans("a", "drop", "c")
        with pytest.raises(StoreError, match=words):
            asyncio.run(history.aadd_messages(humans("a", "drop", "c")))
        assert connection.pgconn.transaction_status == before
        assert texts(history) == ["old"]
        connection.commit()
    assert texts(opened(table)) == ["old"]


def test_a_trigger_that_lets_everything_in_is_no_hindrance(table: str) -> None:
    """Whatever else it does."""
    with_trigger(table, "NEW.created_at := '2000-01-01'; RETURN NEW;")
    history = opened(table)
    history.add_messages(humans("a", "b"))
    history.messages = [*history.messages, *humans("c")]
    assert texts(history) == ["a", "b", "c"]
    assert {moment.year for moment in rows(table, "created_at")} == {2000}


@pytest.mark.parametrize("action", ["INSTEAD NOTHING", "ALSO SELECT 1"])
def test_a_table_with_a_rule_on_inserts_is_refused(table: str, action: str) -> None:
    """Rows can't be counted through rules, so a batch could be swallowed and look stored."""
    history = opened(table)
    history.add_messages(humans("old"))
    executed(f"CREATE RULE one AS ON INSERT TO {{}} DO {action}", table)
    with pytest.raises(StoreError, match=r"session 's': could not add to .*has the table a rule on INSERT\?"):
        history.add_messages(humans("a", "b"))
    with pytest.raises(StoreError, match=r"session 's': could not replace .*has the table a rule on INSERT\?"):
        history.messages = humans("a", "b")
    assert texts(history) == ["old"]


def test_an_error_of_the_server_that_quotes_a_message_is_not_taken_for_a_batch_that_fell_short(table: str) -> None:
    """Only the number that is none, which the statement itself makes, is."""
    with_trigger(table, "RAISE EXCEPTION '%', NEW.message::json->'data'->>'content';")
    with pytest.raises(StoreError, match=r"add to table .*: chathistory: the table took 1 of 2 messages$"):
        opened(table).add_messages(humans("chathistory: the table took 1 of 2 messages"))


@pytest.mark.parametrize("type_of_ids", ["uuid", "text", "timestamptz", "numeric"])
def test_a_table_whose_ids_do_not_count_is_refused(table: str, type_of_ids: str) -> None:
    """Its rows would come back in any order."""
    name = f"{table}_{type_of_ids}"
    executed(f"CREATE TABLE {{}} (id {type_of_ids}, session_id text, message json)", name)
    words = 'its column "id" is no integer'
    for call in (opened(name).get_messages, opened(name).clear, lambda: opened(name).add_messages(humans("a"))):
        with pytest.raises(StoreError, match=f"session 's': could not .*{words}"):
            call()
    with pytest.raises(StoreError, match=words):
        PostgresChatMessageHistory.create_tables(database(), name)


def test_an_empty_batch_does_not_touch_the_store() -> None:
    """Nothing to add is nothing that could fail."""
    PostgresChatMessageHistory("missing", "s", conninfo="host=127.0.0.1 port=1").add_messages([])


def test_reading_and_clearing_an_unwritten_session_leaves_no_rows(table: str) -> None:
    """A session exists by its messages alone."""
    history = opened(table)
    assert history.messages == []
    history.clear()
    assert rows(table) == []


# Session ids and names.

SESSION_IDS = [
    *("", " ", "a", "A", "a ", " a", "1", "01", "1.0", "1e0", "%", "_", "*", "a%", "a\0b", "a\0c", "\n"),
    *("\u00e9", "e\u0301", "'; DROP TABLE message_store; --", '"', "../x", "x" * 1024, "x" * 1025, "x" * 4096),
    *("x" * 4095 + "y", "y" * 70_000, "\U0001f600", "\ufeff", "?1", "$1", "%s", "NULL", "0x1", "\\", "\\x61"),
    *("\ud800", "\udfff", "sha256:", "sha256:a", "s", "{}", "0e984725-c51c-4bf4-9960-e1c80e27aba0"),
]


def test_session_ids_are_compared_exactly(table: str) -> None:
    """Ids that differ in anything are different sessions, for reads and for clears."""
    for number, session_id in enumerate(SESSION_IDS):
        opened(table, session_id).add_user_message(str(number))
    assert [texts(opened(table, each)) for each in SESSION_IDS] == [[str(n)] for n in range(len(SESSION_IDS))]
    for number, session_id in enumerate(SESSION_IDS):
        opened(table, session_id).clear()
        left = [texts(opened(table, each)) for each in SESSION_IDS]
        assert left == [[] if index <= number else [str(index)] for index in range(len(SESSION_IDS))]


def test_ids_that_postgres_cannot_hold_are_kept_by_their_hash_and_taken_for_no_other(table: str) -> None:
    """Nor is the id that such an id is stored as."""
    opened(table, "a\0b").add_user_message("a")
    [stored] = rows(table, "session_id")
    assert stored.startswith("sha256:")
    assert texts(opened(table, stored)) == []
    opened(table, stored).add_user_message("b")
    assert (texts(opened(table, "a\0b")), texts(opened(table, stored))) == (["a"], ["b"])


NAMES = [
    *('"', '""; DROP TABLE x; --', "a b", "ä", "select", "public.message_store", "'", "[x]", "`", "?1", "\n", "%s"),
    *("{}", "{session}", "$1", "\\", "\U0001f600\\", "A", "x" * 63, "é" * 31, "json", "U&"),
]


@pytest.mark.parametrize("name", NAMES)
def test_hostile_table_names_work_exactly(table: str, name: str) -> None:
    """Any text is a name once it is quoted, and no name reaches into another table."""
    plain = opened(table)
    plain.add_user_message("plain")
    PostgresChatMessageHistory.create_tables(database(), name)
    odd = opened(name)
    odd.add_messages(humans("odd", "odd"))
    odd.messages = humans("odd", "é")
    assert (texts(odd), texts(plain)) == (["odd", "é"], ["plain"])
    assert rows(name) == ["odd", "é"]
    odd.clear()
    assert (texts(odd), texts(plain)) == ([], ["plain"])
    PostgresChatMessageHistory.drop_table(database(), name)
    assert texts(plain) == ["plain"]


def test_long_names_that_begin_alike_are_different_tables_with_indexes_of_their_own() -> None:
    """PostgreSQL would cut a name of an index that is made of the table's, and find that it exists."""
    names = ["x" * 62 + end for end in "ab"]
    for name in names:
        PostgresChatMessageHistory.create_tables(database(), name)
        opened(name).add_user_message(name[-1])
    assert [texts(opened(name)) for name in names] == [["a"], ["b"]]
    with raw() as connection:
        query = "SELECT tablename FROM pg_indexes WHERE tablename = ANY(%s) ORDER BY tablename"
        assert connection.execute(query, [names]).fetchall() == [(name,) for name in names]
    for name in names:
        PostgresChatMessageHistory.drop_table(database(), name)


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 64, "é" * 32])
def test_names_that_postgres_cannot_take_as_they_are_are_refused(name: str) -> None:
    """Longer ones would be cut in silence, and be other tables' (ISO-6)."""
    with pytest.raises(ValueError, match="table_name"):
        PostgresChatMessageHistory(name, "s", conninfo="")
    with pytest.raises(ValueError, match="table_name"):
        PostgresChatMessageHistory.create_tables(database(), name)


# Arguments.


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({}, ValueError, "Must provide sync_connection or async_connection, or conninfo"),
        ({"sync_connection": "host=x"}, TypeError, "sync_connection must be a psycopg.Connection"),
        ({"async_connection": object()}, TypeError, "async_connection must be a psycopg.AsyncConnection"),
        ({"conninfo": 1}, TypeError, "conninfo must be a str"),
        ({"conninfo": "mysql://x"}, ValueError, "conninfo is neither"),
        ({"conninfo": "host"}, ValueError, "conninfo is neither"),
        ({"conninfo": "", "sync_connection": object()}, ValueError, "either conninfo or connections"),
    ],
)
def test_arguments_that_cannot_be_honoured_are_refused(
    arguments: dict[str, Any], error: type[Exception], words: str
) -> None:
    """No argument is ignored in silence, and the error names it."""
    with pytest.raises(error, match=words):
        PostgresChatMessageHistory("t", "s", **arguments)
    with pytest.raises(TypeError, match="session_id must be a str, got int"):
        PostgresChatMessageHistory("t", 1, conninfo="")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="table_name must be a str, got int"):
        PostgresChatMessageHistory(1, "s", conninfo="")  # type: ignore[arg-type]


SECRET = "p@ss/wo?rd:hush"  # noqa: S105 -- nobody's


@pytest.mark.parametrize(
    "conninfo",
    [
        f"postgresql://user:{SECRET}@127.0.0.1:1/x",
        f"postgresql://user:{SECRET}",
        f"postgres://user:a@b@{SECRET}:1",
        f"host=x password={SECRET} {SECRET}",
        f"password='{SECRET}",
        f"{SECRET}",
    ],
)
def test_a_conninfo_that_cannot_be_read_is_refused_without_showing_it(conninfo: str) -> None:
    """An unescaped password ends up anywhere in it, and in what libpq says of it."""
    with pytest.raises(ValueError, match="conninfo") as caught:
        PostgresChatMessageHistory("t", "s", conninfo=conninfo)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    assert not any(part in str(caught.value) for part in ("p@ss", "wo?rd", "hush"))


def test_errors_of_connecting_name_the_session_and_show_no_password() -> None:
    """Neither in their text nor in what they come from."""
    conninfo = "postgresql://chathistory:hush%20hush@127.0.0.1:1/hush%20hush?connect_timeout=2"
    history = PostgresChatMessageHistory("t", "s", conninfo=conninfo)
    with pytest.raises(StoreError, match=r"session 's': could not read table 't': .*refused") as caught:
        history.get_messages()
    told = [caught.value, caught.value.__cause__, caught.value.__context__]
    assert not any("hush" in f"{error} {error and vars(error)}" for error in told)
    assert "hush" not in repr(history)


@pytest.mark.parametrize("is_async", [False, True])
def test_what_an_error_of_connecting_comes_from_holds_no_password(is_async: bool) -> None:
    """Also where reporters of errors look into it."""
    history = PostgresChatMessageHistory("t", "s", conninfo="postgresql://chathistory:hush@127.0.0.1:1/x")
    with pytest.raises(StoreError, match="refused") as caught:
        asyncio.run(history.aget_messages()) if is_async else history.get_messages()
    assert isinstance(caught.value.__cause__, psycopg.OperationalError)
    assert "hush" not in str(vars(caught.value.__cause__))


def test_a_wrong_password_is_a_clear_error() -> None:
    """As the server says it."""
    if server().how != "embedded":
        pytest.skip("the user's server may ask for no password")
    wrong = database().replace(server().secrets[0], "hush")
    with pytest.raises(StoreError, match="password authentication failed"):
        PostgresChatMessageHistory("t", "s", conninfo=wrong).clear()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql+psycopg", "postgresql+psycopg_async"])
def test_urls_of_other_libraries_are_taken(table: str, scheme: str) -> None:
    """As SQLAlchemy and the libraries around it write them."""
    conninfo = database().replace("postgresql", scheme, 1)
    PostgresChatMessageHistory(table, "s", conninfo=conninfo).add_user_message("a")
    assert texts(opened(table)) == ["a"]


# Tables in any state.


def test_a_missing_table_is_an_error_that_names_the_mend() -> None:
    """And once the table is there, the same handle works."""
    name = new_table()
    PostgresChatMessageHistory.drop_table(database(), name)
    history = opened(name)
    for call in (history.get_messages, history.clear, lambda: history.add_messages(humans("a"))):
        with pytest.raises(StoreError, match=r"session 's': .* does not exist \(make it once by .*create_tables"):
            call()
    PostgresChatMessageHistory.create_tables(database(), name)
    history.add_messages(humans("b"))
    assert texts(history) == ["b"]
    PostgresChatMessageHistory.drop_table(database(), name)
    PostgresChatMessageHistory.drop_table(database(), name)
    with pytest.raises(StoreError, match="does not exist"):
        history.clear()


def test_making_a_table_again_changes_nothing(table: str) -> None:
    """Its messages stay."""
    opened(table).add_user_message("a")
    PostgresChatMessageHistory.create_tables(database(), table)
    assert texts(opened(table)) == ["a"]


def test_many_may_make_a_table_at_once() -> None:
    """Twelve threads find none, and all of them succeed (CON-5)."""
    name = new_table()
    PostgresChatMessageHistory.drop_table(database(), name)
    start = threading.Barrier(12)

    def make() -> None:
        with psycopg.connect(database()) as connection:
            start.wait()
            PostgresChatMessageHistory.create_tables(connection, name)
        opened(name).add_user_message("a")

    with running(*[make] * 12):
        pass
    assert texts(opened(name)) == ["a"] * 12


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ("id serial, session_id char(40), message json", "neither TEXT nor UUID"),
        ("id serial, session_id varchar(40), message json", "neither TEXT nor UUID"),
        ("id serial, session_id int, message json", "neither TEXT nor UUID"),
        ("id serial, session_id text, message text", "neither JSON nor JSONB"),
        ("id serial, session_id text", 'column "message" does not exist'),
    ],
)
def test_tables_that_would_not_keep_what_they_are_given_are_refused(columns: str, words: str) -> None:
    """By create_tables, and by every operation."""
    name = new_table()
    executed("DROP TABLE {}", name)
    executed(f"CREATE TABLE {{}} ({columns})", name)
    with pytest.raises(StoreError, match=words):
        PostgresChatMessageHistory.create_tables(database(), name)
    with pytest.raises(StoreError, match=words):
        opened(name).add_user_message("a")


DAMAGES = {
    "[]": "not an object",
    "{}": "not an object",
    '{"type": "human", "data": {}}': "fields of the HumanMessage",
    '{"type": "os.system", "data": {"content": "a"}}': "unknown message type",
    '{"type": "human", "data": {"content": "a"}, "exact": "{"}': "not JSON",
    None: "the entry is NULL",
}


@pytest.mark.parametrize(("damage", "words"), DAMAGES.items())
def test_a_damaged_row_is_one_error_that_names_it(table: str, damage: str | None, words: str) -> None:
    """With session and table; the other sessions and the row itself stay as they are."""
    history, other = opened(table), opened(table, "other")
    history.add_messages(humans("a", "b"))
    other.add_messages(humans("c"))
    [_, row_id, _] = rows(table, "id")
    executed("ALTER TABLE {} ALTER COLUMN message DROP NOT NULL", table)
    executed("UPDATE {} SET message = %s WHERE id = %s", table, damage, row_id)
    with pytest.raises(
        DamagedMessageError, match=f"session 's': row {row_id} of table '{table}' is no message: .*{words}"
    ):
        history.get_messages()
    assert texts(other) == ["c"]
    history.clear()
    assert history.messages == []


def test_an_error_that_only_looks_like_another_layout_is_told_at_once(table: str) -> None:
    """A trigger calls a function that doesn't exist, and the table is looked at once more, not for ever."""
    history = opened(table)
    history.add_messages(humans("a"))
    with raw() as connection:
        body = "BEGIN PERFORM no_such_function(); RETURN NEW; END"
        connection.execute(f"CREATE FUNCTION bad_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
    executed(f"CREATE TRIGGER bad BEFORE INSERT ON {{}} EXECUTE FUNCTION bad_{table}()", table)
    with pytest.raises(StoreError, match="no_such_function"):
        history.add_messages(humans("b"))
    assert texts(history) == ["a"]


def test_a_view_of_a_table_is_as_good_as_the_table(table: str) -> None:
    """Whatever PostgreSQL can read and write under that name will do."""
    executed("CREATE VIEW a_view AS SELECT * FROM {}", table)
    opened("a_view").add_messages(humans("a"))
    opened("a_view").messages = humans("b", "c")
    assert texts(opened(table)) == texts(opened("a_view")) == ["b", "c"]
    executed("DROP VIEW a_view; COMMENT ON TABLE {} IS ''", table)


def test_a_database_with_another_default_isolation_level_keeps_every_promise(table: str) -> None:
    """Writers that wait for each other at SERIALIZABLE neither fail nor miss what the other has done."""
    conninfo = psycopg.conninfo.make_conninfo(database(), options="-c default_transaction_isolation=serializable")

    def write() -> None:
        history = PostgresChatMessageHistory(table, "s", conninfo=conninfo)
        for number in range(15):
            history.add_messages(humans("a", "b"))
            if number % 5 == 4:
                history.messages = humans("a", "b")

    with running(write, write, write):
        pass
    found = texts(opened(table))
    assert found == ["a", "b"] * (len(found) // 2)
    opened(table).clear()
    assert texts(opened(table)) == []


def test_messages_of_every_kind_of_driver_error_fit_one_line(table: str) -> None:
    """What PostgreSQL adds, such as the statement with its data, is left out."""
    executed("ALTER TABLE {} ADD CONSTRAINT no_bombs CHECK (message::text NOT LIKE '%bomb%')", table)
    bombs: list[BaseMessage] = humans("a bomb")
    with pytest.raises(StoreError) as caught:
        opened(table, "x" * 5000).add_messages(bombs)
    assert len(str(caught.value).splitlines()) == 1
    assert "a bomb" not in str(caught.value)
    assert len(str(caught.value)) < 600
