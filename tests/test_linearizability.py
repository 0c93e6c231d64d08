"""Hand-written histories with known verdicts, the names of anomalies, and what else the checker promises."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterable
from itertools import product

import pytest
from langchain_core.messages import BaseMessage, HumanMessage
from tests.test_linearizability_language import history

from chathistory.conformance import linearizability
from chathistory.conformance.linearizability import (
    ANOMALIES,
    Budget,
    Call,
    EventHistory,
    Linearizable,
    Prefix,
    PrefixPool,
    Undecided,
    Violation,
    Weaken,
    check,
)
from chathistory.conformance.linearizability._search import apply
from chathistory.reference import UNWRITTEN, Add, Clear, Operation, Read, Replace, Session, step_session

LOOP_OF_ADDS = Weaken(batches_atomic=False)


@pytest.mark.parametrize(
    "line",
    [
        "1r",
        "1+a 1ra",
        "1+ 1r",
        "1+ab 2rab 1+c 3rabc",
        # Concurrent adds in either order, and a read that sees neither, one or both.
        "1(+a 2(+b 1) 2) 3rba",
        "1(+a 2(+b 3r 3rb 1) 2) 3rba",
        # A read in flight may see the add or not, in whatever order it was invoked.
        "1(rab 2+a 3+b 1)",
        "1(+a 2r 3ra 1) 2ra",
        # Unknown outcomes: happened, happened late, never happened.
        "1+a? 2ra",
        "1+a? 2r 2+b 2rba",
        "1+a? 2r 2+b 2rb",
        "1!? 2+a 2ra 2r",
        "1!? 2+a 2ra 2ra",
        # What raised has no effect, but if its outcome is unknown.
        "1+a~ 1r 1!~ 1=b~ 1r",
        # Clears: after, before and during.
        "1+a 1! 1r 1+b 1rb",
        "1+a 2(! 3ra 3r 2) 3r",
        "1+a 2(! 3+b 2) 3rb",
        "1+a 2(! 3+b 2) 3r",
        "1(! 2(+a 3+b 2) 1) 3rba",
        # Two clears, and an epoch between them that only one read saw.
        "1+a 2(! 3(! 1+b 1rb 2) 3) 1r",
        # Assignments.
        "1+a 1=bc 1rbc 1= 1r",
        "1(=a 2(=b 1) 2) 3ra",
        "1(=a 2(=b 3rb 1) 2) 3ra",
        # Sessions have nothing to do with one another.
        "1+a 2@t+b 1ra 2@trb",
    ],
)
def test_a_correct_history_is_linearizable(line: str) -> None:
    """Each of these has an order that explains it."""
    assert isinstance(check(history(line)), Linearizable)


@pytest.mark.parametrize(
    ("line", "anomaly"),
    [
        # An acknowledged message is gone: at once, after it was read, with a clear that can't have taken it.
        ("1+a 2r", "lost add"),
        ("1+a 2+b 3rb", "lost add"),
        ("1(+a 2(+b 1) 2) 3ra", "lost add"),
        ("1+a 2ra 1+b 2rb", "lost add"),
        ("1+a? 2ra 2r", "lost add"),
        ("1! 1+a 2r", "lost add"),
        ("1+a 1=b 1r", "lost add"),
        ("1+a 2raa", "duplicated add"),
        ("1+a 1+b 2raba", "duplicated add"),
        ("1+a? 2raa", "duplicated add"),
        ("1+ab 2ra", "torn batch"),
        ("1+ab? 2rb", "torn batch"),
        ("1(+ab 2(+x 1) 2) 3raxb", "torn batch"),
        ("1(+ab 2ra 1) 2rab", "torn batch"),
        ("1=ab 1rb", "torn batch"),
        ("1+ab 2rba", "read out of order"),
        ("1+a 1+b 2rba", "read out of order"),
        ("1+a 2+b 3rba", "read out of order"),
        ("1(+a 2(+b 1) 2) 3rab 3rba", "read out of order"),
        ("1(+a 2(+b 3(+c 1) 2) 3) 1rac 1rabc", "message inserted in the middle"),
        ("1(+a 2(+b 1) 2) 3rb 3rab", "message inserted in the middle"),
        ("1+a 2r 2ra", "stale read"),
        ("1+a 1+b 2rab 2ra 2rab", "stale read"),
        ("1! 1+a 2r 2ra", "stale read"),
        ("1+a 1! 2r 3ra", "resurrected after clear"),
        ("1+a 2(! 3+b 2) 3rab", "resurrected after clear"),
        ("1+a 1! 1+b 1rab", "resurrected after clear"),
        ("1+a 1=b 1rab", "resurrected after clear"),
        ("1+a 2(! 1ra 1r 1ra 2)", "resurrected after clear"),
        ("1+a 1! 2ra", "clear undone"),
        ("1+a 2ra 1! 2ra 2ra", "clear undone"),
        ("1+a 1=b 1ra", "clear undone"),
        ("1ra", "message from nowhere"),
        ("1ra 1+a", "message from nowhere"),
        ("1+a~ 1ra", "message from nowhere"),
        ("1@t+a 1ra", "message from nowhere"),
        # One clear can't explain two disappearances.
        ("1+a 2(! 1ra 1+b 1rb 1+c 1rc 2)", "not linearizable"),
    ],
)
def test_a_broken_history_is_a_violation_with_a_name(line: str, anomaly: str) -> None:
    """Each of these has none, and what is wrong with it has a name."""
    verdict = check(history(line))
    assert isinstance(verdict, Violation)
    assert verdict.anomaly == anomaly


@pytest.mark.parametrize(
    ("line", "initial", "anomaly"),
    [
        ("1rxy", "xy", None),
        ("1+a 1rxya", "xy", None),
        ("1! 1r", "xy", None),
        ("1(! 2rxy 2r 1)", "xy", None),
        ("1r", "xy", "lost add"),
        ("1rx", "xy", "lost add"),
        ("1+a 1ra", "xy", "lost add"),
        ("1=a 1r", "xy", "lost add"),
        ("1ryx", "xy", "read out of order"),
        ("1+a 1raxy", "xy", "read out of order"),
        ("1! 1rxy", "xy", "clear undone"),
        ("1! 1+a 1rxya", "xy", "resurrected after clear"),
    ],
)
def test_what_a_session_held_before_counts(line: str, initial: str, anomaly: str | None) -> None:
    """The initial content is there before the first call, and is lost, cleared and read like the rest."""
    verdict = check(history(line, s=initial))
    assert (verdict.anomaly if isinstance(verdict, Violation) else None) == anomaly


@pytest.mark.parametrize(
    ("line", "anomaly"),
    [
        # What a loop of adds may do.
        ("1(+ab 2ra 1) 2rab", None),
        ("1(+ab 2(+x 1) 2) 3raxb", None),
        ("1+ab~ 1ra", None),
        ("1+ab~ 1r", None),
        ("1+ab? 1ra", None),
        ("1(+ab 2(! 1) 2) 3rb", None),
        ("1(! 2(+ab~ 3(ra 2) 4(r 3) 4) 1)", None),
        # What it may not.
        ("1+ab 1ra", "lost add"),
        ("1+ab 1rb", "lost add"),
        ("1+ab? 1rb", "lost add"),
        ("1+ab 1rba", "read out of order"),
        ("1+a 1+b 1rba", "read out of order"),
        ("1+ab~ 1rab", "message from nowhere"),
        ("1+a~ 1ra", "message from nowhere"),
        ("1! 1+ab 1rba", "read out of order"),
        ("1! 1+ab? 1rba", "read out of order"),
        ("1+abc 1! 1rc", "clear undone"),
        ("1+ab 1! 1+c 1rac", "resurrected after clear"),
    ],
)
def test_batches_may_be_left_out_of_the_specification(line: str, anomaly: str | None) -> None:
    """With batches not atomic only what remains is judged."""
    verdict = check(history(line), weaken=LOOP_OF_ADDS)
    assert (verdict.anomaly if isinstance(verdict, Violation) else None) == anomaly


def test_a_retry_writes_the_same_message_again() -> None:
    """Messages need not be unique; then the search judges."""
    assert isinstance(check(history("1+a? 1+a 1ra")), Linearizable)
    assert isinstance(check(history("1+a? 1+a 1raa")), Linearizable)
    verdict = check(history("1+a? 1+a 1raaa"))
    assert isinstance(verdict, Violation)
    assert verdict.anomaly == "duplicated add"


def test_an_assignment_of_what_was_read_is_judged() -> None:
    """`h.messages = h.messages[-1:] + [c]` writes old messages again."""
    assert isinstance(check(history("1+a 1+b 1=bc 1rbc")), Linearizable)
    assert isinstance(check(history("1+a 1+b 1=bc 1rabc")), Violation)


def test_the_calls_of_a_violation_are_few_and_in_order() -> None:
    """In the midst of many calls, only those are shown that matter, with their numbers."""
    noise = " ".join(f"{1 + index % 3}@t+{letter}" for index, letter in enumerate("cdefghijklmnop"))
    events = history(f"1+a {noise} 2+b 3rb 1@trcdefghijklmnop")
    verdict = check(events)
    assert isinstance(verdict, Violation)
    assert (verdict.anomaly, verdict.session, verdict.messages) == ("lost add", "s", ("a",))
    assert [events.calls[number] for number in verdict.numbers] == list(verdict.calls)
    contents = [(call.kind, call.added or call.observed) for call in verdict.calls]
    assert contents == [("add", ("a",)), ("read", ("b",))]


def test_an_explanation_says_what_happened_in_prose() -> None:
    """As a maintainer would accept it in a bug report."""
    verdict = check(history("1+a 2r 3ra"))
    assert isinstance(verdict, Violation)
    assert verdict.explanation == (
        "Read 1 by worker 2 began after add 0 by worker 1 had been acknowledged, "
        "and doesn't hold its message 'a'. Read 2 by worker 3 holds it again."
    )


def test_a_contradiction_without_a_name_is_shown_as_its_core() -> None:
    """Of nine calls the seven that matter; leave any of them out, and there is an order."""
    verdict = check(history("1+a 3rab? 2(! 1ra 1+b 1rb 1+c 1rc 2) 1rc"))
    assert isinstance(verdict, Violation)
    assert verdict.anomaly == "not linearizable"
    assert len(verdict.calls) < 8
    assert verdict.explanation.startswith("No order of these calls")


def test_a_violation_is_not_hidden_by_an_undecided_session() -> None:
    """The proof that one session is broken outweighs the lack of one for another."""
    line, none = "1@t+a? 1@t+a 1@tra", Budget(states=0)
    undecided = Undecided(reason="the search visited 0 states", sessions=("t",))
    assert check(history(line), budget=none) == undecided
    assert isinstance(check(history(f"{line} 1ra"), budget=none), Violation)


def test_running_out_of_time_is_undecided() -> None:
    """A search that ends without a proof is never a pass."""
    adds = " ".join(f"{index}(+a" for index in range(9))
    returns = " ".join(f"{index})" for index in range(9))
    line = f"9(! {adds} {returns} 9) 1raaa 1raaaa"
    assert isinstance(check(history(line), budget=Budget(states=50)), Undecided)
    assert isinstance(check(history(line)), Violation)


def test_the_specification_is_the_reference_model() -> None:
    """All sequences of up to four operations lead to the same contents as `step_session`."""
    adds, others = [("add", ""), ("add", "a"), ("add", "bc")], [("read", ""), ("clear", "")]
    for row in product([*adds, *others, ("replace", ""), ("replace", "d")], repeat=4):
        content: tuple[str, ...] = ()
        session = UNWRITTEN
        for kind, added in row:
            call = _call(kind, added, observed=content)
            session, result = step_session(session, _operation(kind, added))
            assert result is None or _texts(result) == content
            content = apply(content, call)
            assert _texts(session.messages) == content


def test_sequential_histories_of_the_reference_model_are_linearizable_and_no_others() -> None:
    """With calls one after the other, a read must return just what the model says."""
    kinds = [("add", "1"), ("add", "23"), ("clear", ""), ("replace", ""), ("replace", "4")]
    for row in product(kinds, repeat=3):
        session, calls = Session(), []
        for number, (kind, added) in enumerate(row):
            names = "".join(f"{number}{letter}" for letter in added)
            messages = tuple(names[index : index + 2] for index in range(0, len(names), 2))
            session, _ = step_session(session, _operation(kind, messages))
            calls.append(_call(kind, messages, at=number))
        content = _texts(session.messages)
        others = {content[1:], content[:-1], (*content, "x"), content[::-1], content * 2} - {content}
        for observed in (content, *others):
            read = _call("read", (), observed=observed, at=9)
            verdict = check(EventHistory([*calls, read]))
            assert isinstance(verdict, Linearizable if observed == content else Violation)


def _call(kind: str, added: Iterable[str], observed: tuple[str, ...] = (), at: int = 0) -> Call:
    return Call(
        process=1,
        session="s",
        kind=kind,  # type: ignore[arg-type] # the callers' tables hold kinds only
        invoked=at,
        returned=at,
        added=tuple(added),
        observed=observed if kind == "read" else None,
    )


def _operation(kind: str, added: Iterable[str]) -> Operation:
    messages = tuple(HumanMessage(each) for each in added)
    made: dict[str, Operation] = {
        "add": Add("s", messages),
        "read": Read("s"),
        "clear": Clear("s"),
        "replace": Replace("s", messages),
    }
    return made[kind]


def _texts(messages: Iterable[BaseMessage]) -> tuple[str, ...]:
    return tuple(str(message.content) for message in messages)


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"kind": "append"}, "kind must be one of"),
        ({"invoked": float("nan")}, "invoked must be a finite number"),
        ({"returned": -1}, "returned must be None or a time from 0 on"),
        ({"returned": float("inf")}, "returned must be None or a time"),
        ({"added": ("a",)}, "only an add or a replace"),
        ({"observed": None}, "exactly the reads that returned"),
        ({"failed": True}, "exactly the reads that returned"),
        ({"returned": None}, "exactly the reads that returned"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused(changes: dict[str, object], problem: str) -> None:
    """At the door, with what is wrong."""
    fields = {"process": 1, "session": "s", "kind": "read", "invoked": 0, "returned": 1, "observed": ()}
    with pytest.raises(ValueError, match=problem):
        Call(**{**fields, **changes})  # type: ignore[arg-type] # the point of the test


def test_a_single_text_in_place_of_messages_is_refused() -> None:
    """It would be read letter by letter."""
    with pytest.raises(TypeError, match=r"write added=\('ab',\)"):
        Call(process=1, session="s", kind="add", invoked=0, returned=1, added="ab")  # type: ignore[arg-type]


def test_a_budget_is_not_negative() -> None:
    """Nor is it a number of hours by mistake."""
    with pytest.raises(ValueError, match="can't be negative"):
        Budget(seconds=-1)


def test_histories_survive_json_and_pickle() -> None:
    """With unknown outcomes, failures, hostile names, and reads that share a log."""
    pool = PrefixPool()
    reads = [
        Call(
            process="w",
            session="s\x00\ud800",
            kind="read",
            invoked=n,
            returned=n + 0.5,
            observed=pool.share("abc"[:n]),
        )
        for n in range(4)
    ]
    events = EventHistory([*reads, *history("1+ab? 2!~ 1=c 1rc").calls], {"s": ("x",)})
    data = events.to_json()
    assert EventHistory.from_json(json.loads(json.dumps(data))) == events
    assert data["logs"].count(["a", "b", "c"]) == 1
    assert pickle.loads(pickle.dumps(events)) == events  # noqa: S301 -- our own bytes
    with pytest.raises(ValueError, match="schema"):
        EventHistory.from_json({**data, "schema": 2})


def test_a_prefix_is_what_was_observed_though_its_log_grows() -> None:
    """Like the tuple it stands for, in all that a sequence can do."""
    pool = PrefixPool()
    short, long = pool.share("ab"), pool.share("abcd")
    assert short.log is long.log
    assert (tuple(short), tuple(long), len(short)) == (("a", "b"), ("a", "b", "c", "d"), 2)
    assert (short[-1], long[1:3], long[::-1], short[5:]) == ("b", ("b", "c"), ("d", "c", "b", "a"), ())
    assert short == ("a", "b") != long
    assert hash(short) == hash(("a", "b"))
    assert "c" not in short
    with pytest.raises(IndexError):
        short[2]
    with pytest.raises(ValueError, match="length"):
        Prefix(["a"], 2)


def test_a_pool_keeps_apart_what_disagrees() -> None:
    """Whatever is shared, each read remains what it was."""
    pool = PrefixPool()
    seen = ["", "a", "ab", "ac", "abd", "x", "acd", "", "xy", "a"]
    assert [tuple(each) for each in [pool.share(text) for text in seen]] == [tuple(text) for text in seen]


@pytest.mark.parametrize("line", ["1+a 1ra 1+b 1rab", "1+a 1ra 1+b 1ra", "1+a 1! 1+b 1rb", "1+a 1+b 1rab 1rb"])
def test_it_makes_no_difference_how_reads_are_stored(line: str) -> None:
    """As tuples, or as prefixes of one log or of several."""
    plain = history(line)
    for pools in (1, 2):
        shared = _shared(plain, [PrefixPool() for _ in range(pools)])
        assert shared == plain
        verdict, other = check(plain), check(shared)
        assert verdict == other


def _shared(events: EventHistory, pools: list[PrefixPool]) -> EventHistory:
    """The same history, its reads shared by these pools in turn."""
    calls = list(events.calls)
    for index, call in enumerate(calls):
        if call.observed is not None:
            calls[index] = Call(
                process=call.process,
                session=call.session,
                kind="read",
                invoked=call.invoked,
                returned=call.returned,
                observed=pools[index % len(pools)].share(call.observed),
            )
    return EventHistory(calls)


def test_every_anomaly_has_a_meaning() -> None:
    """The names are defined once, and the definitions are sentences."""
    assert all(meaning[0].isupper() and meaning.endswith(".") for meaning in ANOMALIES.values())


def test_the_facade_exports_what_it_says() -> None:
    """`__all__` is sorted, and is all that is visible."""
    visible = {name for name, value in vars(linearizability).items() if not name.startswith("_")}
    modules = {name for name in visible if type(getattr(linearizability, name)).__name__ == "module"}
    assert sorted(visible - modules, key=lambda name: (not name.isupper(), name)) == linearizability.__all__
