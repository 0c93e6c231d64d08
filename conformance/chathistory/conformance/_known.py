"""Keeps programs that showed a violation in hypothesis's database of examples, so that a later run tries them first.

The database is whichever the user's hypothesis settings name: a folder, or one that machines share, such as
`hypothesis.extra.redis.RedisExampleDatabase`. What it holds is data, and is read as a report is; what can't be
read any more is dropped.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from hypothesis.database import ExampleDatabase

from chathistory.conformance._portable import program_from_json, program_to_json
from chathistory.conformance._program import Program
from chathistory.conformance._text import error_line
from chathistory.reference import ChatHistoryError

_FORMAT = 1
_MOST = 20


@dataclass(slots=True)
class KnownPrograms:
    """The programs of one backend that are known from earlier runs.

    Attributes:
        database: where they are; None knows nothing and keeps nothing.
        backend: the name of the backend: another one's programs are not tried, nor dropped because they pass.
        problem: why the database could not be used; empty if it could. A check does not depend on it.
    """

    database: ExampleDatabase | None
    backend: str
    problem: str = field(default="", init=False)

    def of(self, check: str) -> list[Program]:
        """The programs known to a check of this name, the shortest first."""
        found: list[Program] = []
        with self._noting_problems():
            for value in sorted(self._fetched(check), key=lambda value: (len(value), value))[:_MOST]:
                program = _program(value)
                if program is None:
                    self._delete(check, value)
                else:
                    found.append(program)
        return found

    def keep(self, check: str, program: Program) -> None:
        """Have later runs try this program first."""
        with self._noting_problems():
            if self.database is not None:
                self.database.save(self._key(check), _value(program))

    def drop(self, check: str, program: Program) -> None:
        """Forget a program that shows nothing any more, or for which there is a shorter one."""
        with self._noting_problems():
            self._delete(check, _value(program))

    def _fetched(self, check: str) -> list[bytes]:
        return [] if self.database is None else list(self.database.fetch(self._key(check)))

    def _delete(self, check: str, value: bytes) -> None:
        if self.database is not None:
            self.database.delete(self._key(check), value)

    def _key(self, check: str) -> bytes:
        return json.dumps(["chathistory", _FORMAT, self.backend, check]).encode()

    @contextmanager
    def _noting_problems(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 -- a database on another machine may raise anything
            self.problem = f"hypothesis's database of examples could not be used: {error_line(error)}"


def _value(program: Program) -> bytes:
    return json.dumps(program_to_json(program), sort_keys=True, separators=(",", ":")).encode()


def _program(value: bytes) -> Program | None:
    """The program, or None if it is none that this version can run."""
    try:
        return program_from_json(json.loads(value))
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError, ChatHistoryError):
        return None
