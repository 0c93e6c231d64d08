"""Cuts the connection at every message of a call, and looks at what is left (DUR-4)."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from typing import Any

from langchain_core.messages import HumanMessage

from chathistory.conformance.trials._finding import Finding, loops_over_batches
from chathistory.conformance.trials._proxy import Proxy

_CALLS = ("add", "read", "clear")
_MOMENTS = ("before", "after", "within", "early in")
_SECONDS_TO_RETURN = 20.0
_TRIES = 6
# More than any store needs for one call; a bound all the same, for one that never falls silent.
_MOST_MESSAGES = 40


def cut_connections(backend: Any, *, mode: str, rounds: int, seed: int = 0, **_: object) -> Finding:
    """Whether a call whose connection is cut is lost or applied twice in silence, or leaves the store unusable (DUR-4).

    Args:
        backend: the backend.
        mode: "sync" or "async".
        rounds: how many moments of each message are tried, of the four there are; of reads also "early in".
        seed: not used; every message is cut.
    """
    del seed
    wire = backend.wire
    with Proxy(wire.address) as proxy, _Caller(mode) as caller:
        with wire.connect(proxy.host, proxy.port) as get_session_history:
            trial = _Cuts(proxy, get_session_history, backend.get_session_history, caller)
            for call in (*_CALLS, "set") if mode == "sync" and trial.takes_assignments() else _CALLS:
                for message in range(1, trial.messages_of(call) + 1):
                    for moment in _moments_of(call, rounds):
                        if problem := trial.problem_of(call, message, moment):
                            return Finding(problem, caller.calls)
        return Finding(_problem_of_first_calls(wire, proxy, backend, caller, rounds), caller.calls)


def _moments_of(call: str, rounds: int) -> tuple[str, ...]:
    """So many moments; of a read always that at which it is most easily taken for one of nothing."""
    moments = _MOMENTS[:rounds]
    return moments if call != "read" or "early in" in moments else (*moments, "early in")


def _problem_of_first_calls(wire: Any, proxy: Proxy, backend: Any, caller: _Caller, rounds: int) -> str | None:
    """What is wrong after a cut of the first add of all, for which connections are opened, or None."""
    most, message = 1, 0
    while (message := message + 1) <= most:
        for moment in _MOMENTS[:rounds]:
            with wire.connect(proxy.host, proxy.port) as get_session_history:
                before = proxy.settled()
                trial = _Cuts(proxy, get_session_history, backend.get_session_history, caller)
                if problem := trial.problem_of("first add", message, moment):
                    return problem
                # After a cut more messages pass, for another try; those of the first are among them.
                most = max(most, min(proxy.settled().since(before).messages, _MOST_MESSAGES))
    return None


class _Cuts:
    """One call, cut at one moment, on a session of its own."""

    def __init__(
        self, proxy: Proxy, through: Callable[[str], Any], past: Callable[[str], Any], caller: _Caller
    ) -> None:
        self._proxy, self._through, self._past, self._caller = proxy, through, past, caller
        self._batch = ["m1", "m2"]

    def takes_assignments(self) -> bool:
        """Whether the session's messages can be assigned."""
        history, _ = self._prepared()
        return _is_done(self._tried(history, "set"))

    def messages_of(self, call: str) -> int:
        """How many messages pass on the wire for a call that is not cut."""
        history, _ = self._prepared()
        self._batch = ["m1"] if loops_over_batches(history) else ["m1", "m2"]
        before = self._proxy.settled()
        self._made(history, call)
        return min(self._proxy.settled().since(before).messages, _MOST_MESSAGES)

    def problem_of(self, call: str, message: int, moment: str) -> str | None:
        """What is wrong after a cut, in words, or None."""
        try:
            history, session_id = self._unused() if call == "first add" else self._prepared()
        except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
            return f"after earlier cuts no new handle works any more: {_text(error)}"
        self._proxy.cut_at(message, moment)
        outcome = self._tried(history, call)
        if not self._proxy.spare():
            return None  # it took fewer messages this time
        where = f"{call}, cut {moment} message {message} on the wire,"
        if isinstance(outcome, _Hung):
            return f"{where} did not return within {_SECONDS_TO_RETURN:g} s"
        after = self._tried(history, "add again")
        if isinstance(after, _Hung):
            return f"the next call after {where} did not return within {_SECONDS_TO_RETURN:g} s"
        seen = self._seen(session_id)
        if isinstance(seen, str):
            return f"after {where} the session can't be read: {seen}"
        problem = wrong_after_cut(call, outcome, after, seen, self._batch)
        return None if problem is None else f"{where} {problem}"

    def _unused(self) -> tuple[Any, str]:
        """A handle without a connection, on a session that holds nothing."""
        session_id = f"{uuid.uuid4().hex}-first"
        history = self._through(session_id)
        self._batch = ["m1"] if loops_over_batches(history) else ["m1", "m2"]
        return history, session_id

    def _prepared(self) -> tuple[Any, str]:
        """A handle with a connection, on a session that holds one message."""
        session_id = f"{uuid.uuid4().hex}-cut"
        for attempt in range(_TRIES):
            try:
                # A try that failed may have been applied, so the next has a session of its own.
                session_id = f"{session_id}{attempt}"
                history = self._through(session_id)
                self._made(history, "prepare")
                return history, session_id
            except Exception:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError

    def _tried(self, history: Any, call: str) -> Any:
        try:
            return self._made(history, call)
        except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
            return error

    def _made(self, history: Any, call: str) -> Any:
        contents = {"prepare": ["m0"], "add again": ["m3"]}.get(call, self._batch)
        return self._caller.call(history, call if call in ("read", "clear", "set") else "add", contents)

    def _seen(self, session_id: str) -> Sequence[str] | str:
        """What the session holds, read past the proxy."""
        try:
            read = self._caller.call(self._past(session_id), "read", [])
        except Exception as error:  # noqa: BLE001 -- what is raised is what is looked for
            return _text(error)
        return "no answer" if isinstance(read, _Hung) else read


def wrong_after_cut(
    call: str, outcome: Any, after: Any, seen: Sequence[str], batch: Sequence[str] = ("m1", "m2")
) -> str | None:
    """What is wrong with a session that held m0, after a cut call and an add of m3, or None."""
    raised = isinstance(outcome, Exception)
    did = f"raised {type(outcome).__name__}" if raised else "returned"
    shown = f"; the session holds {list(seen)}"
    if call == "read" and not raised and list(outcome) != ["m0"]:
        return f"returned {list(outcome)} where the session holds ['m0']"
    if repeated := next((content for content in seen if list(seen).count(content) > 1), None):
        return f"{did}, and {repeated} was stored twice{shown}"
    if call == "set":  # of one that raised nothing is said here: many clear, and then add
        done = [[*batch, "m3"]] if _is_done(after) else [[*batch, "m3"], list(batch)]
        return None if raised or list(seen) in done else f"returned, but was not carried out{shown}"
    before = [] if call == "first add" else ["m0"]
    call = call.removeprefix("first ")
    wanted = {"add": [*before, *batch], "read": before, "clear": []}[call]
    possible = [wanted] if not raised or call == "read" else [wanted, before]
    allowed = [_with(start, added) for start in possible for added in ([["m3"]] if _is_done(after) else [["m3"], []])]
    if raised and call == "add":
        allowed += [[*before, "m3", *batch]]  # the answer was lost, and it took effect later
    if raised and call == "clear":
        allowed += [[]]
    if list(seen) in allowed:
        return None
    if 0 < sum(content in seen for content in batch) < len(batch):
        return f"{did}, and left a part of its batch{shown}"
    if not raised and call == "add" and "m1" not in seen:
        return f"returned, but stored nothing{shown}"
    if not raised and call == "clear" and "m0" in seen:
        return f"returned, but cleared nothing{shown}"
    if _is_done(after) and "m3" not in seen:
        return f"{did}; the add after it returned, but stored nothing{shown}"
    return f"{did}{shown}"


def _with(start: list[str], added: list[str]) -> list[str]:
    return [*start, *added]


def _is_done(outcome: Any) -> bool:
    return not isinstance(outcome, Exception)


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:300]


class _Hung:
    """The outcome of a call that did not return."""


class _Caller:
    """Makes calls that are given up after some time."""

    def __init__(self, mode: str) -> None:
        self._loop = asyncio.new_event_loop() if mode == "async" else None
        self.calls = 0

    def __enter__(self) -> _Caller:
        return self

    def __exit__(self, *_: object) -> None:
        if self._loop is not None:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()

    def call(self, history: Any, kind: str, contents: Sequence[str]) -> Any:
        """What the call returns, the contents of a read; `_Hung` if it doesn't."""
        self.calls += 1
        messages = [HumanMessage(content=content) for content in contents]
        found = self._async(history, kind, messages) if self._loop else self._sync(history, kind, messages)
        return [str(message.content) for message in found] if kind == "read" and not isinstance(found, _Hung) else found

    def _async(self, history: Any, kind: str, messages: list[HumanMessage]) -> Any:
        calls = {"read": history.aget_messages, "clear": history.aclear, "add": lambda: history.aadd_messages(messages)}
        assert self._loop is not None  # noqa: S101 -- for the type checker
        try:
            return self._loop.run_until_complete(asyncio.wait_for(calls[kind](), _SECONDS_TO_RETURN))
        except asyncio.TimeoutError:
            return _Hung()

    def _sync(self, history: Any, kind: str, messages: list[HumanMessage]) -> Any:
        """The call in a thread of its own, so that it can be given up."""
        outcome: list[Any] = []

        def call() -> None:
            try:
                if kind == "read":
                    outcome.append(history.messages)
                elif kind == "set":
                    history.messages = messages
                    outcome.append(None)
                else:
                    outcome.append(history.clear() if kind == "clear" else history.add_messages(messages))
            except BaseException as error:  # noqa: BLE001 -- handed over
                outcome.append(error)

        thread = threading.Thread(target=call, daemon=True)
        thread.start()
        thread.join(_SECONDS_TO_RETURN)
        if not outcome:
            return _Hung()
        if isinstance(outcome[0], BaseException):
            raise outcome[0]
        return outcome[0]
