"""What we know of each violation of a peer: what is wrong, and what would mend it; held against the reports.

`docs/_data/mends.toml` is written by people who have read the peer's source. Every violation that a report holds
must be explained there; and what is explained there must occur, unless it is marked as a matter of chance.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs._tools.published import DOCS, PEERS

from chathistory.conformance._report import ClauseResult, Outcome, Report
from chathistory.reference import clause

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MENDS = DOCS / "_data" / "mends.toml"
VIOLATIONS: tuple[Outcome, ...] = ("failed", "stale", "warned", "declared")

# What several callers, a cancelled call or a killed writer do depends on chance; all else shows every time.
_CHANCY_FAMILIES = ("CON", "DUR")
_CHANCY_CLAUSES = ("ISO-7", "ATM-2", "ATM-3", "ASY-4", "ASY-5")


class MendsError(ValueError):
    """The file of mends is not as it must be."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """Clauses that a peer breaks for one reason.

    Attributes:
        clauses: their ids.
        wrong: what is wrong.
        mend: what would mend it.
        by_chance: a run may not show it.
    """

    clauses: tuple[str, ...]
    wrong: str
    mend: str
    by_chance: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Again:
    """Clauses that are named where a peer breaks another one; a run may name them or not.

    Attributes:
        clauses: their ids.
        why: how the one shows as the other.
        of: the clause whose fault it is, and whose mend mends it; empty if the fault is not the peer's.
    """

    clauses: tuple[str, ...]
    why: str
    of: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Peer:
    """A history that people use, and what it breaks.

    Attributes:
        name: its target.
        history: which class of which library.
        opened: how the suite opens it.
        broken: what it breaks, in the order of the page.
        again: what is named beside that.
        remarks: what else a reader should know, as Markdown.
    """

    name: str
    history: str
    opened: str
    broken: tuple[Broken, ...]
    again: tuple[Again, ...] = ()
    remarks: str = ""

    @property
    def explained(self) -> tuple[str, ...]:
        """The clauses of which something is known."""
        return (*(name for each in self.broken for name in each.clauses), *self.repeated)

    @property
    def repeated(self) -> tuple[str, ...]:
        """The clauses that are named for another fault."""
        return tuple(name for each in self.again for name in each.clauses)


def load_mends(path: Path = MENDS) -> dict[str, Peer]:
    """The peers of the file, by name.

    Raises:
        MendsError: the file names an unknown peer or clause, or one twice, or leaves a sentence out.
    """
    data = tomllib.loads(path.read_text("utf-8"))
    peers = [_peer(entry) for entry in data["peer"]]
    names = [peer.name for peer in peers]
    if sorted(names) != sorted(PEERS):
        raise MendsError(f"{path.name}: expected each of {', '.join(PEERS)} once, not {', '.join(names)}")
    return {peer.name: peer for peer in peers}


def _peer(entry: Mapping[str, Any]) -> Peer:
    broken = tuple(_broken(entry["name"], each) for each in entry.get("broken", ()))
    again = tuple(Again(**{**each, "clauses": _ids(each)}) for each in entry.get("again", ()))
    peer = Peer(**{**entry, "broken": broken, "again": again})
    if twice := sorted({clause_id for clause_id in peer.explained if peer.explained.count(clause_id) > 1}):
        raise MendsError(f"{peer.name}: {', '.join(twice)} is explained twice")
    for each in again:
        if each.of and not any(each.of in other.clauses for other in broken):
            raise MendsError(f"{peer.name}: {each.of} is not explained, so nothing can be {each.of} again")
    return peer


def _ids(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """The clauses of an entry, which exist."""
    return tuple(clause(name).id for name in entry["clauses"])


def _broken(peer: str, entry: Mapping[str, Any]) -> Broken:
    broken = Broken(**{**entry, "clauses": _ids(entry)})
    if not broken.wrong.strip() or not broken.mend.strip():
        raise MendsError(f"{peer}: {', '.join(broken.clauses)} needs to say what is wrong and what would mend it")
    steady = [name for name in broken.clauses if not _is_chancy(name)]
    if broken.by_chance and steady:
        raise MendsError(f"{peer}: {', '.join(steady)} shows every time or never, so it can't be by chance")
    return broken


def _is_chancy(clause_id: str) -> bool:
    return clause(clause_id).family in _CHANCY_FAMILIES or clause_id in _CHANCY_CLAUSES


def violations(report: Report) -> tuple[ClauseResult, ...]:
    """What a report holds against a backend."""
    return report.with_outcome(*VIOLATIONS)


def unmatched(mends: Mapping[str, Peer], reports: Mapping[str, Report]) -> list[str]:
    """What the reports and the file of mends don't agree on, in a sentence each."""
    return [problem for name, report in reports.items() for problem in _of_report(name, report, mends.get(name))]


def _of_report(name: str, report: Report, peer: Peer | None) -> Iterable[str]:
    """A violation that nobody has explained; and, after a run in full, an explanation of what did not occur."""
    found = [result.id for result in violations(report)]
    for clause_id in found:
        if peer is None:
            yield f"{name} is ours and breaks {clause_id}: mend it, or declare it, before it is published"
        elif clause_id not in peer.explained:
            yield f"{name} breaks {clause_id}, which is not explained"
    if peer is not None and report.configuration.effort != "quick":
        for each in peer.broken:
            for clause_id in () if each.by_chance else each.clauses:
                if clause_id not in found:
                    yield f"{name} no longer breaks {clause_id}: remove its explanation"
