"""Operations of the DynamoDB history, carried out a request at a time in random order, with requests that get lost.

The steps of an operation are data, so this needs neither threads nor luck: the order is drawn by a seed, and the
checker of concurrent histories judges what came of it. Sizes are made small, so that a few messages are enough for
chunks, segments and their shortening.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ConnectionClosedError
from tests.dynamodb_tables import Table, error, humans, new_table

from chathistory.adapters.dynamodb import _attempts, _batch, _chunks, _head, _session
from chathistory.adapters.dynamodb._batch import Settings
from chathistory.adapters.dynamodb._calls import Pause, Request
from chathistory.adapters.dynamodb._failures import ERRORS, OWN_ERRORS, UnknownOutcomeError
from chathistory.adapters.dynamodb._place import Place, key_of_session
from chathistory.conformance.linearizability import Call, EventHistory, Linearizable, check, render_text
from chathistory.reference import encode_batch

CLOCK = 1_700_000_000.0


@pytest.fixture
def table() -> Table:
    """An empty table."""
    return new_table()


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of a few messages, and chunks of some more."""
    for module in (_head, _attempts):
        monkeypatch.setattr(module, "SEGMENT_BYTES", 700)
    monkeypatch.setattr(_batch, "INLINE_BYTES", 600)
    monkeypatch.setattr(_chunks, "PIECE_BYTES", 500)


@dataclass
class Running:
    """An operation that has begun."""

    process: int
    kind: str
    added: tuple[str, ...]
    steps: Any
    invoked: float
    answer: Any = None


@dataclass
class World:
    """Runs operations on one session, a request at a time.

    Attributes:
        table: where.
        chance: draws the order and the faults.
        faults: what may happen to a request, beside being carried out.
        fragile: the operations whose requests it happens to.
        settings: of the handles.
    """

    table: Table
    chance: random.Random
    faults: tuple[str, ...] = ()
    fragile: tuple[str, ...] = ("add", "read", "replace", "clear")
    keep: int | None = None
    ttl: float | None = None
    time: float = 0.0
    calls: list[Call] = field(default_factory=list)
    late: list[Request] = field(default_factory=list)
    handles: dict[int, _session.Knowledge] = field(default_factory=dict)
    count: int = 0

    @property
    def settings(self) -> Settings:
        place = Place(self.table.name, key_of_session("SessionId", "s"), "History", "expireAt")
        return Settings(place, self.keep, self.ttl, lambda: CLOCK)

    def begin(self, process: int, kind: str) -> Running:
        """Begin an operation; nothing is sent yet."""
        added: tuple[str, ...] = ()
        if kind in ("add", "replace"):
            size = self.chance.choice((1, 1, 2, 3, 12))
            added = tuple(f"m{self.count + number}" for number in range(size))
            self.count += size
        batch = encode_batch(humans(*added), "s")
        knowledge = self.handles.setdefault(process, _session.Knowledge())
        begun: dict[str, Callable[[], Any]] = {
            "add": lambda: _session.add(self.settings, knowledge, batch),
            "replace": lambda: _session.replace(self.settings, knowledge, batch),
            "read": lambda: _session.read(self.settings, knowledge),
            "clear": lambda: _session.clear(self.settings),
            "empty": lambda: _session.replace(self.settings, knowledge, []),
        }
        self.time += 1
        return Running(process, kind, added, begun[kind](), self.time)

    def advance(self, running: Running) -> bool:
        """Carry out the next request of an operation; whether it is over."""
        try:
            answer = running.answer
            step = running.steps.throw(answer) if isinstance(answer, BaseException) else running.steps.send(answer)
        except StopIteration as stop:
            self._over(running, stop.value)
            return True
        except (*ERRORS, *OWN_ERRORS) as failure:
            self._over(running, failure)
            return True
        running.answer = None if isinstance(step, Pause) else self._perform(step, running.kind)
        return False

    def _perform(self, request: Request, kind: str) -> Any:
        is_hit = self.faults and kind in self.fragile and self.chance.random() < 0.15
        fault = self.chance.choice(self.faults) if is_hit else ""
        if fault == "throttled":
            return error("ProvisionedThroughputExceededException")
        if fault == "late":
            self.late.append(request)
        if fault in ("late", "lost"):
            return ConnectionClosedError(endpoint_url=self.table.url)
        answer = self._sent(request)
        return ConnectionClosedError(endpoint_url=self.table.url) if fault == "answer lost" else answer

    def _sent(self, request: Request) -> Any:
        try:
            return getattr(self.table.client, request.method)(**request.arguments)
        except ERRORS as failure:
            return failure

    def arrive(self) -> None:
        """Carry out a request that everybody believes lost."""
        self._sent(self.late.pop(self.chance.randrange(len(self.late))))

    def _over(self, running: Running, outcome: Any) -> None:
        self.time += 1
        failed = isinstance(outcome, BaseException)
        unknown = isinstance(outcome, UnknownOutcomeError)
        observed = None
        if running.kind == "read" and not failed:
            observed = tuple(message["data"]["content"] for message in outcome)
        returned = None if unknown else self.time
        self.calls.append(
            Call(
                process=running.process,
                session="s",
                kind="clear" if running.kind == "empty" else running.kind,  # type: ignore[arg-type]
                invoked=running.invoked,
                returned=returned,
                added=running.added,
                observed=observed,
                failed=failed,
            )
        )

    def run(self, workers: list[list[str]]) -> None:
        """Let all workers make their calls, interleaved, and read once at the end."""
        plans = [iter(worker) for worker in workers]
        running = [self._next(number, plan) for number, plan in enumerate(plans)]
        while any(running):
            number = self.chance.choice([number for number, one in enumerate(running) if one])
            if self.late and self.chance.random() < 0.2:
                self.arrive()
            if self.advance(running[number]):
                running[number] = self._next(number, plans[number])
        while self.late:
            self.arrive()
        self.faults = ()
        last = self.begin(-1, "read")
        while not self.advance(last):
            pass

    def _next(self, process: int, plan: Iterator[str]) -> Any:
        kind = next(plan, None)
        return None if kind is None else self.begin(process, kind)

    @property
    def end(self) -> list[str]:
        """What was read at the end."""
        return list(self.calls[-1].observed or ())

    @property
    def acknowledged(self) -> list[str]:
        """What was added and acknowledged."""
        return [text for call in self.calls if call.kind == "add" and call.acknowledged for text in call.added]


def drawing(seed: int) -> random.Random:
    """What draws the order, the same each time."""
    return random.Random(seed)  # noqa: S311 -- no secret


def judged(world: World) -> str:
    """What the checker finds wrong, or nothing."""
    verdict = check(EventHistory(world.calls))
    return "" if isinstance(verdict, Linearizable) else render_text(verdict)  # type: ignore[arg-type]


ADDS_AND_READS = [["add", "read", "add"] * 2, ["add"] * 5, ["read", "add", "add", "read"]]
EVERYTHING = [["add", "add", "clear", "add", "read"], ["add", "read", "replace", "add"], ["add", "clear", "read"] * 2]
SEEDS = [*range(12), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(100, 250))]


@pytest.mark.parametrize("seed", SEEDS)
def test_every_interleaving_is_linearizable(table: Table, seed: int) -> None:
    """Adds, reads, clears and assignments at once, with segments and chunks moving all the while."""
    world = World(table, drawing(seed))
    world.run(EVERYTHING if seed % 2 else ADDS_AND_READS)
    assert judged(world) == ""
    assert all(call.acknowledged for call in world.calls)


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_and_late_requests_lose_and_repeat_nothing(table: Table, seed: int) -> None:
    """Whatever gets lost, on the way there or back, or arrives when nobody expects it any more (DUR-4)."""
    world = World(table, drawing(seed), faults=("lost", "answer lost", "throttled", "late"))
    world.run(ADDS_AND_READS)
    assert judged(world) == ""
    assert set(world.acknowledged) <= set(world.end)
    assert len(world.acknowledged) > 0
    assert len(world.end) == len(set(world.end))


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_answers_of_clears_and_assignments_undo_nothing(table: Table, seed: int) -> None:
    """Each took effect once: nothing that came after it is gone."""
    faults = ("lost", "answer lost", "throttled", "late")
    world = World(table, drawing(seed), faults=faults, fragile=("read", "replace", "clear"))
    world.run(EVERYTHING)
    assert judged(world) == ""


EMPTYING = [["add", "empty", "add", "read"], ["add", "read", "replace", "empty"], ["add", "empty", "read"] * 2]


@pytest.mark.parametrize("seed", SEEDS)
def test_assignments_of_nothing_undo_nothing_and_leave_what_others_keep(table: Table, seed: int) -> None:
    """Whether the item goes, or others keep something in it."""
    is_shared = seed % 2 == 0
    owner = {"owner": {"S": "bob"}} if is_shared else {}
    table.client.put_item(TableName=table.name, Item={"SessionId": {"S": "s"}, **owner})
    faults = ("lost", "answer lost", "throttled", "late") if seed % 4 > 1 else ()
    world = World(table, drawing(seed), faults=faults, fragile=("read", "replace", "empty"))
    world.run(EMPTYING)
    assert judged(world) == ""
    world.run([["empty"]])
    assert table.head() == ({"SessionId": {"S": "s"}, **owner} if is_shared else {})
    assert faults or len(table.items()) == is_shared


@pytest.mark.parametrize("seed", SEEDS)
def test_lost_answers_bring_back_nothing_that_was_cleared(table: Table, seed: int) -> None:
    """An add that may have been there, and have been cleared since, is not added again."""
    world = World(table, drawing(seed), faults=("lost", "answer lost", "throttled"))
    world.run(EVERYTHING)
    assert judged(world) == ""


@pytest.mark.parametrize("seed", SEEDS)
def test_a_bound_keeps_the_last_of_concurrent_adds(table: Table, seed: int) -> None:
    """Never more than the bound, and what is added last is what is kept."""
    world = World(table, drawing(seed), keep=5)
    world.run(ADDS_AND_READS)
    assert all(len(call.observed or ()) <= 5 for call in world.calls)
    assert len(world.end) == 5
    before = world.end
    world.run([["add"]])
    last = list(world.calls[-2].added)
    assert world.end == (before + last)[-5:]


@pytest.mark.parametrize("keep", [None, 4])
def test_nothing_is_left_when_all_is_cleared(table: Table, keep: int | None) -> None:
    """Chunks of losers, of what was shortened, and of what was cleared are all removed."""
    world = World(table, drawing(1), keep=keep)
    world.run([*ADDS_AND_READS, *EVERYTHING, ["add"] * 8])
    world.run([["clear"]])
    assert table.items() == []


@pytest.mark.parametrize("seed", SEEDS[:6])
def test_a_ttl_moves_no_message(table: Table, seed: int) -> None:
    """The same with times of expiry to keep."""
    world = World(table, drawing(seed), ttl=60.0)
    world.run(EVERYTHING)
    assert judged(world) == ""
    assert all(int(item["expireAt"]["N"]) >= CLOCK + 60 for item in table.items())
