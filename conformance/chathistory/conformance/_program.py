"""Programs: what is done to a history, as data that can be drawn, shrunk, printed, stored and replayed.

A program is a list of steps. A step names the handle it goes through; a handle is opened on a session by
`Open`. Session ids are templates: `{run}` becomes a token unique to the execution and `{number}` a number
unique to it, so that no program depends on what the backend already holds. So are the ids of messages, where what
they are exactly is not what a program is about.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeAlias

Mode: TypeAlias = Literal["sync", "async"]
AddCall: TypeAlias = Literal["add_messages", "add_message", "add_user_message", "add_ai_message"]
Container: TypeAlias = Literal["list", "tuple", "deque", "generator", "failing generator", "broken generator", "bare"]
FAILING: tuple[Container, ...] = ("failing generator", "broken generator")
"""The containers that raise while they are read."""
EditTarget: TypeAlias = Literal["argument", "result"]
EditKind: TypeAlias = Literal["append", "pop", "reverse", "clear", "content", "nested", "field", "deep"]


@dataclass(frozen=True, slots=True)
class Open:
    """Open handle number `handle` on a session; with an option, by the backend's function for it."""

    handle: int
    session: str
    partition: str | None = None
    history_size: int | None = None
    ttl: float | None = None


@dataclass(frozen=True, slots=True)
class Forget:
    """Let go of a handle, and of what was read and added through it: garbage is collected, and it is gone."""

    handle: int


@dataclass(frozen=True, slots=True)
class Add:
    """Add messages.

    Attributes:
        handle: the number of the handle.
        messages: what is added; an item may be anything, where a check wants it refused.
        call: the method. The ones for a single message get `messages[0]`.
        mode: the sync or the async form (`aadd_messages`; the others have none).
        container: what `add_messages` is handed: "generator" can be read once, "failing generator" raises
            ValueError at its end, "broken generator" OSError, "bare" is `messages[0]` itself in place of a sequence.
        text: `add_user_message` and `add_ai_message` get the content instead of the message.
    """

    handle: int
    messages: tuple[Any, ...]
    call: AddCall = "add_messages"
    mode: Mode = "sync"
    container: Container = "list"
    text: bool = False


@dataclass(frozen=True, slots=True)
class Read:
    """Read all messages: `h.messages`, or `await h.aget_messages()`."""

    handle: int
    mode: Mode = "sync"


@dataclass(frozen=True, slots=True)
class Clear:
    """Clear: `h.clear()`, or `await h.aclear()`."""

    handle: int
    mode: Mode = "sync"


@dataclass(frozen=True, slots=True)
class Assign:
    """Assign to the attribute: `h.messages = [...]`, of a `container` as `Add` has them."""

    handle: int
    messages: tuple[Any, ...]
    container: Container = "list"


@dataclass(frozen=True, slots=True)
class AddBack:
    """Add what is read: `h.add_messages(h.messages)`."""

    handle: int
    mode: Mode = "sync"


@dataclass(frozen=True, slots=True)
class Edit:
    """Change, in the caller's hands, the list last added ("argument") or last read ("result") by a handle.

    The kinds "append", "pop", "reverse" and "clear" change the list; "content", "field", "nested" and "deep"
    change its first message: the content, the name, a value inside additional_kwargs, and every list and
    dict in it.
    """

    handle: int
    target: EditTarget
    edit: EditKind


@dataclass(frozen=True, slots=True)
class Cancel:
    """Start an async add (or clear, if there are no messages; or read), let the loop turn `turns` times, cancel it.

    With `seconds` it has so much time, too: a call that waits for a network is reached in its middle by that.

    If there are messages `beside` it, an add of them is started first, through the same handle, and is not
    cancelled; so the cancelled call may be waiting for whatever lock the first one holds.
    """

    handle: int
    messages: tuple[Any, ...]
    turns: int
    beside: tuple[Any, ...] = ()
    seconds: float = 0.0
    reads: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Let so many seconds pass, by the backend's clock if it offers one; a few hundredths by any clock."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NewLoop:
    """Close the event loop; later async steps run in a new one."""


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn of a RunnableWithMessageHistory whose histories come from the backend.

    Attributes:
        session: the session, or the conversation in the shape "user and conversation".
        shape: which of the how-to's shapes; see `_runnables.SHAPES`.
        call: "invoke", "ainvoke", "stream", "astream", "batch" or "abatch".
        text: what the user says.
        user: the user's id, for the shape "user and conversation".
        fails: whether the wrapped runnable raises.
    """

    session: str
    shape: str
    call: str
    text: str
    user: str = ""
    fails: bool = False


@dataclass(frozen=True, slots=True)
class Together:
    """Workers that begin at once on one session; afterwards it is read through a new handle.

    Attributes:
        session: the session.
        workers: the calls of each, one after another: a number adds a batch of so many messages, "read" and
            "clear" do what they say, "cancel 3" and "refuse 3" are explained at `run_together`.
        how: whether the workers are "threads", asyncio "tasks" or "processes", which share no handle.
        mode: the form of the calls that processes make; threads make sync calls, and tasks async ones.
        shared: whether all go through one handle, or each through its own.
        opens: whether each opens its handle only when all begin (CON-5).
        partition: a partition of the store to do it in.
        attempts: how often it is tried, each time on a session of its own.
    """

    session: str
    workers: tuple[tuple[int | str, ...], ...]
    how: Literal["threads", "tasks", "processes"] = "threads"
    shared: bool = False
    opens: bool = False
    partition: str | None = None
    attempts: int = 1
    mode: Mode = "sync"

    @property
    def is_async(self) -> bool:
        """Whether its workers make async calls."""
        return self.how == "tasks" or (self.how == "processes" and self.mode == "async")


@dataclass(frozen=True, slots=True)
class Trial:
    """An experiment on the whole backend that no row of calls can express, as on its wire or its processes.

    Attributes:
        name: which one; see `trials.TRIALS`.
        mode: the form of the calls it makes.
        seed: chooses the moments at which it interferes.
        rounds: how often it interferes, for trials that do so at chosen moments.
    """

    name: str
    mode: Mode = "sync"
    seed: int = 0
    rounds: int = 1


Step: TypeAlias = (
    Open | Forget | Add | Read | Clear | Assign | AddBack | Edit | Cancel | Wait | NewLoop | Turn | Together | Trial
)

STEP_CLASSES: dict[str, type[Any]] = {
    cls.__name__: cls
    for cls in (Open, Forget, Add, Read, Clear, Assign, AddBack, Edit, Cancel, Wait, NewLoop, Turn, Together, Trial)
}


@dataclass(frozen=True, slots=True)
class Program:
    """Steps in order; `steps[i]` is what reports call step i + 1."""

    steps: tuple[Step, ...]

    @property
    def operations(self) -> int:
        """How many calls of the backend it makes, openings not counted, nor what a trial does within itself."""
        return sum(_operations(step) for step in self.steps)

    def is_valid(self) -> bool:
        """Whether each handle is there when it is used: opened, perhaps once more, and not let go of since."""
        opened: set[int] = set()
        for step in self.steps:
            if isinstance(step, Open):
                opened.add(step.handle)
            elif not isinstance(step, Wait | NewLoop | Turn | Together | Trial) and step.handle not in opened:
                return False
            elif isinstance(step, Forget):
                opened.remove(step.handle)
        return True

    def sessions(self) -> Iterator[str]:
        """The templates of the sessions it opens, each once."""
        yield from dict.fromkeys(step.session for step in self.steps if isinstance(step, Open))


def _operations(step: Step) -> int:
    if isinstance(step, Together):
        return sum(len(worker) for worker in step.workers) + 1
    return int(not isinstance(step, Open | Forget | Edit | Wait | NewLoop))


def program(*steps: Step | Sequence[Step]) -> Program:
    """A program of these steps; lists of steps are laid out flat."""
    flat: list[Step] = []
    for step in steps:
        if isinstance(step, Sequence):
            flat.extend(step)
        else:
            flat.append(step)
    return Program(tuple(flat))


def step_fields(step: Step) -> dict[str, Any]:
    """The fields of a step that differ from their defaults, by name."""
    return {
        field.name: getattr(step, field.name) for field in fields(step) if getattr(step, field.name) != field.default
    }


@dataclass(frozen=True, slots=True)
class RunToken:
    """What makes the session ids of one execution unlike any other's."""

    text: str
    number: int

    def fill(self, template: str) -> str:
        """The session id that a template stands for in this execution."""
        return template.replace("{run}", self.text).replace("{number}", str(self.number))

    def unfill(self, text: str) -> str:
        """A text with the tokens in place of what this execution had for them."""
        return text.replace(self.text, "{run}").replace(str(self.number), "{number}")


def new_token() -> RunToken:
    """A fresh token: letters and digits in lower case beginning with a letter, and a number of 15 digits."""
    unique = uuid.uuid4()
    return RunToken("t" + unique.hex[:19], 10**14 + unique.int % (9 * 10**14))


def is_unique(template: str) -> bool:
    """Whether each execution gets a session, or a message id, of its own by this template."""
    return "{run}" in template or "{number}" in template


def in_mode(given: Program, mode: Mode) -> Program:
    """The same program with every call in one mode; what threads do at once is done by tasks, in async mode."""
    return Program(tuple(_step_in_mode(step, mode) for step in given.steps))


def _step_in_mode(step: Step, mode: Mode) -> Step:
    if isinstance(step, Add) and mode == "async" and step.call != "add_messages":
        return replace(step, mode=mode, call="add_messages", text=False)
    if isinstance(step, Add | Read | Clear | AddBack | Trial):
        return replace(step, mode=mode)
    if isinstance(step, Turn):
        call = step.call.removeprefix("a")
        return replace(step, call=f"a{call}" if mode == "async" else call)
    if isinstance(step, Together) and step.how == "processes":
        return replace(step, mode=mode)
    if isinstance(step, Together) and step.how == "threads" and mode == "async":
        return replace(step, how="tasks")
    return step
