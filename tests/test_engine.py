"""The engine: the gate, the watchdog, whose fault a failure is, how small it becomes, and what is never a pass."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import pytest
from langchain_core.chat_history import BaseChatMessageHistory
from langchain_core.messages import BaseMessage, HumanMessage

from chathistory.conformance import (
    Backend,
    BackendError,
    Configuration,
    Deviation,
    Report,
    _interpreter,
    _runner,
    check,
)
from chathistory.conformance._examine import seconds_of_waiting_for
from chathistory.conformance._judge import run_and_judge
from chathistory.conformance._lens import Lens
from chathistory.conformance._portable import program_from_json, program_to_json
from chathistory.conformance._program import (
    Add,
    Assign,
    Clear,
    Edit,
    NewLoop,
    Open,
    Program,
    Read,
    Together,
    Wait,
    program,
)
from chathistory.conformance._report import EFFORTS, ClauseFinished, Effort, Event, RunFinished, RunStarted
from chathistory.conformance._runner import prepared, replay
from chathistory.conformance._search import _Search
from chathistory.conformance._shrink import shrink
from chathistory.conformance._tally import Tally
from chathistory.conformance._watchdog import OperationHungError, time_limit
from chathistory.conformance.backends import reference
from chathistory.conformance.checks import checks_of
from chathistory.conformance.checks._check import A, numbered
from chathistory.reference import InMemoryChatHistoryStore, InMemoryChatMessageHistory, UnknownClauseError, clause

QUICK = EFFORTS["quick"]


class Broken(InMemoryChatMessageHistory):
    """Hands its reads through a function that spoils them."""

    spoil: Callable[[list[BaseMessage]], list[BaseMessage]] = staticmethod(lambda messages: messages)

    @property
    def messages(self) -> list[BaseMessage]:
        return self.spoil(super().messages)

    @messages.setter
    def messages(self, messages: Iterable[BaseMessage]) -> None:
        super(Broken, type(self)).messages.fset(self, messages)  # type: ignore[attr-defined]


def broken_by(spoil: Callable[[list[BaseMessage]], list[BaseMessage]]) -> Backend:
    """A backend whose reads are spoiled."""
    store = InMemoryChatHistoryStore()
    kind = type("Spoiled", (Broken,), {"spoil": staticmethod(spoil)})
    return Backend(name="broken", get_session_history=lambda session_id: kind(session_id, store=store), claims={"core"})


def red(report: Report) -> list[str]:
    """The clauses that failed."""
    return [result.id for result in report.with_outcome("failed")]


def test_the_reference_is_conformant() -> None:
    """It passes every clause it claims, and nothing it claims goes unexercised."""
    for backend in reference():
        report = check(backend, configuration=EFFORTS["quick"])
        assert report.verdict == "conformant"
        assert not report.with_outcome("failed", "warned", "undecided", "stale")


def test_the_same_seed_draws_the_same_programs() -> None:
    """Two runs make the same number of calls, clause by clause."""
    runs = []
    for _ in range(2):
        for backend in reference():
            report = check(backend, clauses=["ORD", "CLR", "VAL-3"], configuration=replace(QUICK, seed=7))
            runs.append([(result.id, result.programs, result.operations) for result in report.clauses])
    assert runs[0] == runs[1]


def test_a_backend_whose_calls_are_costly_gets_a_sample_of_the_programs() -> None:
    """The seed chooses it, the report says so, and a thorough run leaves nothing out."""
    costly = replace(broken_by(list), costly=True)

    def run(backend: Backend, **options: Any) -> Report:
        return check(backend, clauses=["ORD-1", "CLR-1"], configuration=replace(QUICK, examples=0, **options))

    def size(report: Report) -> list[int]:
        return [result.operations for result in report.clauses]

    assert size(run(costly)) == size(run(costly))
    assert all(
        few < all_of_them for few, all_of_them in zip(size(run(costly)), size(run(broken_by(list))), strict=True)
    )
    assert all("a sample was run" in " ".join(result.notes) for result in run(costly).clauses)
    assert len({tuple(size(run(costly, seed=seed))) for seed in range(5)}) > 1
    assert size(run(costly, effort="thorough")) == size(run(broken_by(list), effort="thorough"))


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (lambda session_id: 1 / 0, "ZeroDivisionError"),
        (lambda session_id: {}, "returned dict, not a chat message history"),
        (lambda session_id: Unanswering(session_id), "did not return within 0.3 s"),
    ],
)
def test_a_fault_of_the_set_up_is_one_line(factory: Callable[[str], BaseChatMessageHistory], said: str) -> None:
    """The smoke gate stops a run before eighty checks turn red."""
    with pytest.raises(BackendError, match=said) as raised:
        check(factory, configuration=replace(QUICK, timeout=0.3))
    assert "\n" not in str(raised.value)


class Raising(InMemoryChatMessageHistory):
    """Opens, and refuses to add."""

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        raise OSError("no store")


def raising(session_id: str) -> BaseChatMessageHistory:
    """Does not even open."""
    raise OSError("no store")


@pytest.mark.parametrize("factory", [raising, Raising])
def test_what_the_first_calls_raise_is_told_with_its_place(factory: Callable[[str], BaseChatMessageHistory]) -> None:
    """As with the function that makes a backend: the author knows where to look."""
    with pytest.raises(BackendError, match=r"OSError: no store at \S*test_engine\.py:\d+$"):
        check(factory, configuration=QUICK)


def test_what_no_other_process_can_have_is_told_at_once() -> None:
    """Rather than calls that never ran being taken for calls that did no harm."""
    backend = Backend(name="mine", get_session_history=Raising, in_another_process=lambda _: Raising())
    with pytest.raises(BackendError, match="its in_another_process can't be pickled") as raised:
        check(backend, configuration=QUICK)
    assert "\n" not in str(raised.value)


class Unanswering(InMemoryChatMessageHistory):
    """Never comes back."""

    def add_messages(self, messages: Iterable[BaseMessage]) -> None:
        threading.Event().wait(60)


def test_a_deadlock_is_a_finding_and_not_the_end_of_the_run() -> None:
    """A history that leaves its lock held after an error fails ERR-3, and the run goes on."""
    lock = threading.Lock()
    store = InMemoryChatHistoryStore()

    class Locked(InMemoryChatMessageHistory):
        def add_messages(self, messages: Iterable[BaseMessage]) -> None:
            lock.acquire()
            super().add_messages(messages)
            lock.release()

    backend = Backend(name="locked", get_session_history=lambda name: Locked(name, store=store), claims={"core"})
    configuration = replace(QUICK, timeout=0.2, shrink_seconds=1.0)
    report = check(backend, clauses=["ORD-1", "ERR-3", "RUN-1"], configuration=configuration)
    assert red(report) == ["ERR-3"]
    assert report.with_outcome("undecided")[0].reason.startswith("the backend has not answered")
    assert report.verdict == "violations"


def test_time_limits_nest_and_are_put_back() -> None:
    """Somebody else's timer still rings."""
    began = time.monotonic()

    def nested() -> None:
        with time_limit(0.2):
            with time_limit(5):
                pass
            time.sleep(3)

    with pytest.raises(OperationHungError):
        nested()
    assert time.monotonic() - began < 2


def test_a_failure_is_named_by_its_own_clause() -> None:
    """A store that loses names is no store that loses order."""

    def nameless(messages: list[BaseMessage]) -> list[BaseMessage]:
        for message in messages:
            message.name = None
        return messages

    assert red(
        check(broken_by(nameless), clauses=["ORD", "ISO", "CLR", "VAL-1", "VAL-2", "VAL-3"], configuration=QUICK)
    ) == ["VAL-3"]


def test_a_counterexample_is_minimal_and_can_be_replayed() -> None:
    """A page limit is shown by one add of one message too many, and found again until it is mended."""
    backend = broken_by(lambda messages: messages[-100:])
    result = check(backend, clauses=["ORD-7"], configuration=replace(QUICK, shrink_seconds=20.0)).clauses[0]
    assert result.counterexample is not None
    steps = program_from_json(dict(result.counterexample.program)).steps
    assert [type(step) for step in steps] == [Open, Add, Read]
    assert len(steps[1].messages) == 101  # type: ignore[union-attr]
    assert result.counterexample.search == "minimal"
    recorded = {"id": "ORD-7", "counterexample": {"program": dict(result.counterexample.program)}}
    again = replay(backend, recorded)
    assert again is not None
    assert again.outcome == "failed"
    assert replay(broken_by(lambda messages: messages), recorded) is None


def test_a_run_that_stops_at_the_first_violation_glances_at_every_clause_first() -> None:
    """What a few short programs show is told before anything is looked at closely, and the report says so."""
    only_first = replace(QUICK, exitfirst=True)
    nameless = broken_by(lambda messages: [one.model_copy(update={"name": None}) for one in messages])
    report = check(nameless, configuration=only_first)
    assert [result.id for result in report.clauses] == ["VAL-3"]
    assert (report.verdict, report.complete) == ("violations", False)
    assert "seen at a glance" in report.clauses[0].notes[-1]


def test_long_histories_are_glanced_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Over a slow store there is one glance, and then a close look at clause after clause."""
    only_first = replace(QUICK, exitfirst=True)
    short = broken_by(lambda messages: messages[-2_000:])
    monkeypatch.setattr(_runner, "_SECONDS_OF_GLANCES", float("inf"))
    assert [result.id for result in check(short, configuration=only_first).clauses] == ["ORD-7"]
    monkeypatch.setattr(_runner, "_SECONDS_OF_GLANCES", 0.0)
    closely = check(short, configuration=only_first)
    assert [result.outcome for result in closely.clauses] == [*["passed"] * 6, "failed"]
    assert closely.clauses[-1].id == "ORD-7"


def test_a_glance_does_not_fail_what_is_declared_or_only_recommended() -> None:
    """A run that stops at the first violation goes on where any other does."""
    nameless = broken_by(lambda messages: [one.model_copy(update={"name": None}) for one in messages])
    declared = replace(nameless, deviations=(Deviation(clause="VAL-3", reason="names are not kept"),))
    report = check(declared, clauses=["VAL-1", "VAL-3"], configuration=replace(QUICK, exitfirst=True))
    assert [result.outcome for result in report.clauses] == ["passed", "declared"]
    unsorted = broken_by(lambda messages: [_with_sorted_keys(one) for one in messages])
    report = check(unsorted, clauses=["VAL-8", "SNP-1"], configuration=replace(QUICK, exitfirst=True))
    assert [result.outcome for result in report.clauses] == ["warned", "passed"]


def test_a_run_that_stops_at_the_first_violation_tells_of_broken_recommendations_first() -> None:
    """What is seen of a SHOULD at a glance is told before any clause is looked at closely, and once."""
    unsorted = broken_by(lambda messages: [_with_sorted_keys(one) for one in messages])
    told: list[str] = []

    def listener(event: Event) -> None:
        if isinstance(event, ClauseFinished):
            told.append(event.result.id)

    impatient = replace(QUICK, exitfirst=True)
    report = check(unsorted, clauses=["ORD-1", "VAL-8"], configuration=impatient, listener=listener)
    assert told == ["VAL-8", "ORD-1"]
    assert [result.id for result in report.clauses] == ["ORD-1", "VAL-8"]


def test_a_glance_at_a_history_that_hangs_after_a_refusal_goes_straight_to_what_is_wrong() -> None:
    """All clauses that have something refused would wait for it; a run that isn't asked for ERR-3 can't name it."""
    released = threading.Event()

    class Locked(InMemoryChatMessageHistory):
        is_locked = False

        def add_messages(self, messages: Any) -> None:
            if self.is_locked:
                released.wait(60)
            self.is_locked = True
            super().add_messages(messages)
            self.is_locked = False

    backend = Backend(name="locked", get_session_history=Locked, import_path="tests.locked:get", claims=("core",))
    impatient = replace(QUICK, exitfirst=True, timeout=0.3)
    try:
        named = [red(check(backend, clauses=ids, configuration=impatient)) for ids in (["VAL-5", "ERR"], ["VAL-5"])]
    finally:
        released.set()
    assert named == [["ERR-3"], []]


def test_where_time_passes_on_the_wall_alone_a_quick_run_waits_for_a_sample() -> None:
    """Which programs are chosen is up to the seed; a clock that can be moved costs nothing."""
    expiry = next(check for check in checks_of("EXP-1") if check.in_resolution)
    moved = prepared(next(iter(reference())), ["EXP-1"], QUICK)
    waiting = replace(moved, backend=replace(moved.backend, advance=None))
    cases = {}
    for subject, seed in ((moved, 1), (waiting, 1), (waiting, 2)):
        search = _Search(subject, expiry, replace(QUICK, seed=seed), Tally())
        cases[subject is waiting, seed] = list(search._cases())
    assert len(cases[True, 1]) < len(cases[False, 1])
    assert cases[True, 1]
    assert cases[True, 1] != cases[True, 2]


def _with_sorted_keys(message: BaseMessage) -> BaseMessage:
    kwargs = message.additional_kwargs
    return message.model_copy(update={"additional_kwargs": {key: kwargs[key] for key in sorted(kwargs)}})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the loop of the call that hangs
def test_an_async_call_that_raises_or_hangs_while_it_is_measured_is_no_fault_of_the_run() -> None:
    """Whether it may raise is for other clauses to judge; one that never returned leaves the clause undecided."""

    class Busy(InMemoryChatMessageHistory):
        at_work = False

        async def aadd_messages(self, messages: Any) -> None:
            await self._alone()
            await super().aadd_messages(messages)

        async def aget_messages(self) -> list[BaseMessage]:
            await self._alone()
            return await super().aget_messages()

        async def _alone(self) -> None:
            if Busy.at_work:
                await self.busy()
            Busy.at_work = True
            await asyncio.sleep(0.05)
            Busy.at_work = False

        async def busy(self) -> None:
            raise RuntimeError("another operation is in progress")

    class Stuck(Busy):
        async def busy(self) -> None:
            await asyncio.Event().wait()

    for kind, outcome in ((Busy, "passed"), (Stuck, "undecided")):
        store = InMemoryChatHistoryStore()
        backend = Backend(
            name="busy",
            get_session_history=lambda session_id, kind=kind, store=store: kind(session_id, store=store),  # type: ignore[misc]
            slow=store.delay,
        )
        [result] = check(backend, clauses=["ASY-3"], configuration=replace(QUICK, timeout=0.6)).clauses
        assert result.outcome == outcome
    gc.collect()


def test_shrinking_ends_when_its_time_is_used_up() -> None:
    """What was found by then is kept, and the search says that it was cut."""
    large = program(Open(1, A), *(Add(1, numbered(1)) for _ in range(400)), Read(1))

    def slow(candidate: Program) -> bool:
        time.sleep(0.01)
        return len(candidate.steps) > 300

    began = time.monotonic()
    small, complete = shrink(large, slow, seconds=0.3)
    assert not complete
    assert time.monotonic() - began < 2
    assert len(small.steps) <= len(large.steps)


def test_sessions_get_plain_names_in_the_order_in_which_they_are_opened() -> None:
    """However Python orders the texts of a set in this process: the same run ends with the same counterexample."""
    for number in range(20):
        odd = program(Open(1, f"{{run}}-{number}x"), Open(2, f"{{run}}-{number}y"))
        small, _ = shrink(odd, lambda candidate: len(set(candidate.sessions())) == 2, seconds=5.0)
        assert list(small.sessions()) == ["{run}-a", "{run}-b"]


def test_sessions_that_hold_something_already_are_no_trouble() -> None:
    """A store in use is as good as an empty one: ids are the suite's own, whatever else is there."""
    store = InMemoryChatHistoryStore()
    for name in ("", " ", "1", "a", "session"):
        store.get_session_history(name).add_messages(numbered(50))
    report = check(store.get_session_history, clauses=["ORD-1", "ISO"], configuration=QUICK)
    assert not red(report)
    assert store.get_session_history("session").messages == list(numbered(50))


def test_the_suite_clears_up_after_itself() -> None:
    """Unless the store is thrown away, the sessions it made are empty at the end."""
    store = InMemoryChatHistoryStore()
    check(store.get_session_history, clauses=["ORD", "ISO-1", "VAL-1", "RUN-1"], configuration=QUICK)
    left = [name for name in store.sessions() if not name.endswith("-smoke")]
    assert left == []


def test_a_declared_deviation_must_still_occur() -> None:
    """Declared when it fails, stale and a failure of the gate when it does not."""
    deviations = (Deviation(clause="ORD-7", reason="pages"), Deviation(clause="ORD-1", reason="was broken once"))
    backend = replace(broken_by(lambda messages: messages[-200:]), deviations=deviations)
    report = check(backend, clauses=["ORD-7", "ORD-1"], configuration=QUICK)
    assert {result.id: result.outcome for result in report.clauses} == {"ORD-1": "stale", "ORD-7": "declared"}
    assert report.verdict == "violations"
    with pytest.raises(ValueError, match="reason"):
        Deviation(clause="ORD-1", reason=" ")


def test_what_is_not_offered_is_not_claimed_and_never_passed() -> None:
    """A backend without partitions or bounds has nothing to show there."""
    report = check(broken_by(lambda messages: messages), clauses=["ISO-6", "BND-1", "ASY-1"], configuration=QUICK)
    assert {result.outcome for result in report.clauses} == {"not-claimed"}
    assert all(result.reason for result in report.clauses)
    assert report.verdict == "undecided"


def test_an_unknown_clause_names_the_nearest() -> None:
    """A typing error is told, not ignored."""
    with pytest.raises(UnknownClauseError, match="ORD"):
        check(broken_by(lambda messages: messages), clauses=["ODR-1"])


def test_an_interrupted_run_still_reports() -> None:
    """The report of what ran is announced before the interrupt goes on."""
    events: list[Event] = []
    calls = 0

    def interrupted(messages: list[BaseMessage]) -> list[BaseMessage]:
        nonlocal calls
        calls += 1
        if calls > 60:
            raise KeyboardInterrupt
        return messages

    with pytest.raises(KeyboardInterrupt):
        check(broken_by(interrupted), clauses=["ORD"], configuration=QUICK, listener=events.append)
    finished = events[-1]
    assert isinstance(finished, RunFinished)
    assert not finished.report.complete
    assert finished.report.verdict == "undecided"


def test_no_deprecation_of_langchain_core_reaches_the_user() -> None:
    """The classes they will remove are the very subject of this library."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for backend in reference():
            check(backend, clauses=["ORD-1", "RUN"], configuration=QUICK)
    assert [str(warning.message) for warning in caught] == []


def test_a_cancelled_call_leaves_two_possible_histories_and_a_read_decides() -> None:
    """The judge keeps both, and holds the backend to the one it showed."""
    for backend in reference():
        cancelled = program(
            Open(1, A), Edit(1, "result", "append"), Clear(1), NewLoop(), Assign(1, numbered(1)), Read(1)
        )
        assert run_and_judge(backend, cancelled, Lens()).divergence is None


def test_configurations_say_what_they_are() -> None:
    """Quick looks less hard than full, full less than thorough."""
    assert EFFORTS["quick"].examples < EFFORTS["full"].examples < EFFORTS["thorough"].examples
    assert Configuration() == EFFORTS["full"]
    assert HumanMessage(content="m2") == numbered(2)[1]


def test_what_sessions_share_does_not_grow_from_program_to_program() -> None:
    """A list that all sessions share is cleared, even in a store that is thrown away, or reads would get longer."""
    longest, shared = 0, InMemoryChatHistoryStore()

    class Watched(InMemoryChatMessageHistory):
        @property
        def messages(self) -> list[BaseMessage]:
            nonlocal longest
            read = super().messages
            longest = max(longest, len(read))
            return read

    backend = Backend(
        name="one list",
        get_session_history=lambda _session_id: Watched("the only one", store=shared),
        disposable=True,
    )
    check(backend, clauses=["ORD", "CON"], configuration=Configuration(examples=2, shrink_seconds=1))
    assert longest < 15_000  # one program writes 2,101 at most, and is run some times until it is clear who is to blame


def test_what_an_async_call_raises_is_shown_by_an_async_call() -> None:
    """Sync and async calls are compared; the smallest program must not be that of the sync ones, which pass."""

    class Driverless(InMemoryChatMessageHistory):
        async def aget_messages(self) -> NoReturn:
            raise ImportError("no driver")

    backend = Backend(name="driverless", get_session_history=Driverless, import_path="tests.driverless:get")
    (result,) = check(backend, clauses=["ASY-1"], configuration=QUICK).clauses
    assert result.counterexample is not None
    assert result.counterexample.lines[-1] == "await h1.aget_messages()"
    assert "loop.run_until_complete(h1.aget_messages())" in result.counterexample.script


def test_what_depends_on_chance_is_replayed_until_it_is_seen() -> None:
    """A race may be won a few times in a row and be there all the same."""
    added: list[object] = []

    class Tiring(InMemoryChatMessageHistory):
        def add_messages(self, messages: Sequence[BaseMessage]) -> None:
            added.append(messages)
            if len(added) < 400:
                super().add_messages(messages)

    store = InMemoryChatHistoryStore()
    backend = Backend(name="tiring", get_session_history=partial(Tiring, store=store), import_path="tests.tiring:get")
    check_name = next(check.name for check in checks_of("CON-1") if "threads" in check.name)
    four_writers = program(Together("{run}-a", ((1,) * 12,) * 4, shared=True))
    recorded = {"id": "CON-1", "counterexample": {"program": {"check": check_name, **program_to_json(four_writers)}}}
    again = replay(backend, recorded)
    assert again is not None
    assert len(added) > 400


def test_a_report_names_no_reason_for_a_refusal_that_it_does_not_know() -> None:
    """What is large and holds what is no JSON was refused for either, and an assignment for being one."""

    class Unassignable(InMemoryChatMessageHistory):
        @property
        def messages(self) -> list[BaseMessage]:
            return super().messages

        @messages.setter
        def messages(self, _messages: Iterable[BaseMessage]) -> None:
            raise TypeError("no history is assigned")

    backend = Backend(name="unassignable", get_session_history=Unassignable, claims={"core"})
    report = check(backend, clauses=["ATM-1", "SNP"], configuration=QUICK)
    assert report.verdict == "conformant"
    assert "size" not in " ".join(note for result in report.clauses for note in result.notes)


def test_adding_back_what_was_read_may_take_as_long_as_any_call_if_it_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What grows is stopped early, before it fills the memory."""
    monkeypatch.setattr(_interpreter, "_SECONDS_TO_ADD_BACK", 0.1)

    class Slow(InMemoryChatMessageHistory):
        def add_messages(self, messages: Sequence[BaseMessage]) -> None:
            time.sleep(0.3)
            super().add_messages(messages)

    store = InMemoryChatHistoryStore()
    slow = Backend(name="slow", get_session_history=partial(Slow, store=store), claims={"core"})
    configuration = replace(QUICK, examples=1, clause_seconds=1.0)
    assert red(check(slow, clauses=["SNP-6"], configuration=configuration)) == []


class InATuple(InMemoryChatMessageHistory):
    """Hands its messages out in a tuple."""

    @property
    def messages(self) -> tuple[BaseMessage, ...]:  # type: ignore[override]
        return tuple(super().messages)


def test_messages_that_are_no_list_are_the_first_cause_of_what_a_runnable_can_not_do() -> None:
    """It asks them for a copy, and whether they are a list; all else a history does with them is right."""
    opened = partial(InATuple, store=InMemoryChatHistoryStore())
    backend = Backend(name="tuples", get_session_history=opened, claims={"core"})
    report = check(backend, clauses=["RUN", "ORD-1"], configuration=QUICK)
    assert red(report) == ["RUN-1", "RUN-2", "RUN-3"]
    assert {clause(failed).causes[0].partition(",")[0] for failed in red(report)} == {"messages is not a list"}


def expiring_in_units_of(seconds: float) -> Backend:
    """A backend with a ttl that nobody can wait for but by the clock on the wall."""
    store = InMemoryChatHistoryStore()
    return Backend(
        name="expiring",
        get_session_history=store.get_session_history,
        claims={"core", "async", "threads", "expiry"},
        with_ttl=lambda session_id, _ttl: store.get_session_history(session_id),
        ttl_resolution=seconds,
    )


@pytest.mark.parametrize(("effort", "minutes"), [("quick", "9"), ("full", "24")])
def test_a_run_that_waits_for_minutes_says_so_at_its_start_and_in_its_report(effort: Effort, minutes: str) -> None:
    """Nobody is left to guess why nothing happens, nor how long."""
    told: list[str] = []

    def listen(event: Event) -> None:
        if isinstance(event, RunStarted):
            told.append(event.patience)
        elif isinstance(event, RunFinished):
            told.extend(event.report.notes)
        else:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(expiring_in_units_of(30.0), clauses=["EXP"], configuration=EFFORTS[effort], listener=listen)
    assert told[0] == told[1]
    assert told[0].startswith(f"EXP waits by the clock on the wall, about {minutes} minutes in all: ")


def test_a_run_that_waits_for_seconds_says_nothing_of_it() -> None:
    """A minute is what any run may take."""
    subject = prepared(expiring_in_units_of(1.0), ["EXP-1"], QUICK)
    assert 30 < sum(seconds_of_waiting_for(subject, name, QUICK) for name in ("EXP-1", "EXP-2", "EXP-3")) < 90
    moved = replace(subject, backend=replace(subject.backend, ttl_resolution=60.0, advance=lambda _seconds: None))
    assert seconds_of_waiting_for(moved, "EXP-1", QUICK) == 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("resolution", [2.0, 30.0])
def test_a_quick_run_that_waits_long_sees_every_promise_of_a_ttl_once(resolution: float, seed: int) -> None:
    """One program of each promise, which outlives its ttl; the same by async calls or at once only if that is quick."""
    configuration = replace(QUICK, seed=seed)
    subject = prepared(expiring_in_units_of(resolution), ["EXP-1"], configuration)
    kept = {}
    for each in (each for name in ("EXP-1", "EXP-2", "EXP-3") for each in checks_of(name)):
        waits = [
            (sum(step.seconds for step in case.steps if isinstance(step, Wait)), case)
            for case in _Search(subject, each, configuration, Tally())._cases()
        ]
        assert not waits or any(
            wait > max((step.ttl or 0 for step in case.steps if isinstance(step, Open)), default=0)
            for wait, case in waits
        )
        kept[each.name] = len(waits)
    alone = {name for name, number in kept.items() if number}
    plain = {name for name in kept if not name.endswith(("(async)", "(threads)", "(tasks)"))}
    assert alone == (plain if resolution > 15 else kept.keys())
