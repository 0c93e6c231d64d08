"""What the suite must know of a subject: how to open it, and what it claims.

A backend is data. Everything beyond `get_session_history` is optional, and what is not offered is reported as
not claimed, never as passed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from langchain_core.chat_history import BaseChatMessageHistory

from chathistory.reference import PROFILES, Profile, clause

History: TypeAlias = BaseChatMessageHistory
SessionFactory: TypeAlias = Callable[[str], BaseChatMessageHistory]

DEFAULT_CLAIMS: frozenset[Profile] = frozenset({"core", "async", "threads"})
"""What a bare callable is taken to claim, unless the user says otherwise."""

SMALLEST_LIMIT = 64
"""The smallest limit that can be declared, in bytes: the suite's ordinary ids and messages are shorter."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """A clause the backend's author knows to be broken. Strict: one that no longer occurs fails the gate.

    Attributes:
        clause: the clause's id.
        reason: why it is so, for the report.
        link: where it is tracked.
        since: since when it is known: a date or a version.
        versions: the versions of libraries and servers with which it occurs, as in `{"redis": ">=5,<8"}`; with
            others the clause is held to as any other.
        witness: a recorded counterexample, the `program` of one in a JSON report. It is replayed in place of
            a search: while it fails, the deviation occurs.
        source: where it was declared, for errors; `load_deviations` fills it in.

    Raises:
        ValueError: without a reason.
        UnknownClauseError: there is no such clause.
    """

    clause: str
    reason: str
    link: str = ""
    since: str = ""
    versions: Mapping[str, str] = field(default_factory=dict, hash=False)
    witness: Mapping[str, Any] | None = field(default=None, hash=False)
    source: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        if not self.reason.strip():
            raise ValueError(f"the deviation from {self.clause} needs a reason")
        object.__setattr__(self, "clause", clause(self.clause).id)

    @property
    def remark(self) -> str:
        """The reason with what else a reader of the report should know, on one line."""
        since = f"since {self.since}" if self.since else ""
        return "; ".join(filter(None, (self.reason, since, self.link)))


Connect: TypeAlias = Callable[[str, int], AbstractContextManager[SessionFactory]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Wire:
    """How the suite comes between the handles and their server, to count, delay and cut what passes.

    Attributes:
        address: the host and port of the server, reached by plain TCP.
        connect: a context that yields a get_session_history whose handles talk to the given host and port in
            place of the server's own, by the same kind of client as usual and without TLS. Their connections
            are closed at its end.
    """

    address: tuple[str, int]
    connect: Connect


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """How much a store takes, as its documentation says; each limit is probed one below, at, and one above it.

    Up to a limit everything is kept exactly. Beyond it, it is refused with `error` and nothing is stored; if it is
    kept all the same, nothing is lost, and the report says that the limit is not where it ends. A limit excuses
    nothing: a store that refuses what a clause promises breaks that clause, whatever is declared here.

    Attributes:
        error: what the refusal raises, a type or several.
        message_bytes: the largest text of one message that is kept, whatever its class and its characters, in bytes
            of UTF-8; None is no limit. A store that counts its own encoding, too, declares what fits at the worst.
        session_id_bytes: the longest session id that works, in bytes of UTF-8; None is no limit.

    Raises:
        TypeError: `error` is no type of exceptions, or a limit no int.
        ValueError: without any limit, or with one that is too small to be probed.
    """

    error: type[Exception] | tuple[type[Exception], ...]
    message_bytes: int | None = None
    session_id_bytes: int | None = None

    def __post_init__(self) -> None:
        if not self.errors or not all(isinstance(kind, type) and issubclass(kind, Exception) for kind in self.errors):
            raise TypeError(f"error must be a type of exceptions, or a tuple of them, got {self.error!r}")
        if self.message_bytes is None and self.session_id_bytes is None:
            raise ValueError("limits need a message_bytes or a session_id_bytes")
        for name in ("message_bytes", "session_id_bytes"):
            limit = getattr(self, name)
            if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool)):
                raise TypeError(f"{name} must be an int or None, got {limit!r}")
            if limit is not None and limit < SMALLEST_LIMIT:
                raise ValueError(
                    f"{name} must be at least {SMALLEST_LIMIT}, so that what the suite stores fits, got {limit}"
                )

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The types of errors that a refusal may raise."""
        return self.error if isinstance(self.error, tuple) else (self.error,)

    @property
    def sizes(self) -> dict[str, int]:
        """The limits by name, those that there are."""
        given = {"message_bytes": self.message_bytes, "session_id_bytes": self.session_id_bytes}
        return {name: limit for name, limit in given.items() if limit is not None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Backend:
    """A subject of the suite.

    Attributes:
        name: how reports call it.
        get_session_history: opens a handle on a session; what RunnableWithMessageHistory takes.
        claims: the profiles it claims; `core` is always claimed.
        deviations: the clauses it is known to break.
        with_history_size: opens a handle that keeps the last N messages; needed to claim `bounded`.
        with_ttl: opens a handle whose session expires after so many seconds; needed to claim `expiry`.
        advance: moves the backend's clock on by so many seconds; None waits in real time, which takes minutes where
            ttl_resolution is some seconds.
        ttl_resolution: the shortest ttl that the backend keeps exactly, in seconds. A session lives for its ttl,
            and may live for one such unit more.
        limits: how large a message and how long a session id the store takes, and how it refuses what is more.
        in_partition: opens a handle in a named partition of the store (a table, key prefix, collection),
            making it if need be; needed for ISO-6.
        slow: a context in which every operation of the store takes the given seconds longer; lets ASY-3
            be judged on a store that is too fast to be seen blocking.
        wire: how the suite comes between the handles and their server; needed for COST and DUR-4, and
            for ASY-3 in place of `slow`.
        in_another_process: a get_session_history that can be pickled and opens the same store in another
            process; needed for `processes` and `durable`.
        crash_server: kills the store's server with SIGKILL, and returns when it answers again; needed for
            DUR-3, and only to be given where acknowledged messages must survive that.
        secrets: credentials that must not appear in any error (ERR-4).
        another: a context that yields a backend of the same kind over an empty store, beside this one and
            independent of it. Counterexamples are then made small over empty stores, so that none depends on
            what earlier programs have left; to be given where that takes milliseconds.
        disposable: the store is thrown away after the run, so the suite need not clear its sessions.
        isolated: whoever opens the target again, in another process and at the same time, gets a store apart from
            this one; `chathistory check` then checks in two processes.
        costly: each call takes so long (an emulator, a service far away) that quick and full runs hold a sample of
            the programs they would hold otherwise, and say so. A store whose adds are seen to take 30 ms or
            more is taken for one.
        versions: of the libraries and servers behind it, for the report.
        import_path: `module:attribute` or `file.py:attribute` under which a script or another process can
            open it again.
        notes: what a reader of the report should know, a sentence each.
    """

    name: str
    get_session_history: SessionFactory
    claims: Iterable[Profile] = DEFAULT_CLAIMS
    deviations: tuple[Deviation, ...] = ()
    with_history_size: Callable[[str, int], BaseChatMessageHistory] | None = None
    with_ttl: Callable[[str, float], BaseChatMessageHistory] | None = None
    advance: Callable[[float], None] | None = None
    ttl_resolution: float = 1.0
    limits: Limits | None = None
    in_partition: Callable[[str, str], BaseChatMessageHistory] | None = None
    slow: Callable[[float], AbstractContextManager[object]] | None = None
    wire: Wire | None = None
    in_another_process: SessionFactory | None = None
    crash_server: Callable[[], None] | None = None
    secrets: tuple[str, ...] = ()
    another: Callable[[], AbstractContextManager[Backend]] | None = None
    disposable: bool = False
    isolated: bool = False
    costly: bool = False
    versions: Mapping[str, str] = field(default_factory=dict)
    import_path: str | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        unknown = sorted(set(self.claims) - set(PROFILES))
        if unknown:
            raise ValueError(f"unknown claim {unknown[0]!r}; the profiles are {', '.join(PROFILES)}")
        if not callable(self.get_session_history):
            raise TypeError(f"get_session_history must be callable, got {self.get_session_history!r}")
        object.__setattr__(self, "claims", frozenset(self.claims) | {"core"})
