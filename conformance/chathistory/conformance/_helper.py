"""What a helper of a run does: it opens the target for itself, and checks the clauses that it is given."""

from __future__ import annotations

from dataclasses import dataclass, replace
from multiprocessing.connection import Connection

from chathistory.conformance._backend import Deviation
from chathistory.conformance._deviations import joined
from chathistory.conformance._examine import examine
from chathistory.conformance._experiment import is_hanging
from chathistory.conformance._garbage import old_objects_left_alone
from chathistory.conformance._report import Configuration
from chathistory.conformance._runner import prepared
from chathistory.conformance._targets import open_target
from chathistory.conformance.trials._writers import close_nurseries
from chathistory.reference import Profile


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What a helper must know of the run.

    Attributes:
        target: what is checked, as the user named it.
        server: as the user chose it.
        claims: the profiles to check in place of those that the backend claims; None for its own.
        deviations: those declared in a file.
        clauses: the ids of all clauses of the run.
        configuration: how hard to look.
    """

    target: str
    server: str
    claims: tuple[Profile, ...] | None
    deviations: tuple[Deviation, ...]
    clauses: tuple[str, ...]
    configuration: Configuration


def help_with(share: Share, run: Connection) -> None:
    """Check one clause after another, until there is none.

    It leaves, and so leaves the clause to the run itself, when the backend has ceased to answer, or a call hangs:
    what that means for other clauses is for one process to say.
    """
    opened = open_target(share.target, claims=share.claims, server=share.server)
    with opened as backend, old_objects_left_alone():
        backend = replace(backend, deviations=joined(backend.deviations, share.deviations))
        subject = prepared(backend, share.clauses, share.configuration)
        try:
            run.send(None)
            while clause_id := run.recv():
                result = examine(subject, clause_id, share.configuration)
                if result.id != clause_id or (result.counterexample and is_hanging(result.counterexample)):
                    return
                run.send(result)
        finally:
            close_nurseries()
