"""Lists the clauses and the backends, for people and as JSON data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from chathistory.conformance._backend import Deviation
from chathistory.conformance._locate import RegisteredBackend
from chathistory.conformance._text import one_line
from chathistory.reference import FAMILIES, Clause


def semantics_json(clauses: Iterable[Clause]) -> dict[str, Any]:
    """The clauses, and their families, as JSON data."""
    chosen = list(clauses)
    wanted = {clause.family for clause in chosen}
    return {
        "schema": 1,
        "families": [asdict(family) for family in FAMILIES if family.id in wanted],
        "clauses": [asdict(clause) for clause in chosen],
    }


def clauses_block(clauses: Iterable[Clause]) -> RenderableType:
    """The clauses by family: id, level, profiles and sentence."""
    chosen = list(clauses)
    blocks: list[RenderableType] = []
    for family in FAMILIES:
        members = [clause for clause in chosen if clause.family == family.id]
        if members:
            heading = Text.assemble((family.id, "bold"), f"  {family.title}: {family.summary}")
            blocks += [heading, Text(), _table(members), Text()]
    return Group(*blocks[:-1])


def clause_block(clause: Clause) -> RenderableType:
    """One clause with why it matters and what usually breaks it."""
    causes = Table.grid(padding=(0, 1))
    for cause in clause.causes:
        causes.add_row("-", Text(cause))
    return Group(
        Text.assemble((clause.id, "bold"), f"  {clause.level}  {_profiles(clause)}"),
        Text(),
        Text(clause.sentence),
        Text(),
        Text("Why it matters", style="bold"),
        Padding(Text(clause.rationale), (0, 0, 0, 2)),
        Text(),
        Text("What usually breaks it", style="bold"),
        Padding(causes, (0, 0, 0, 2)),
    )


def backends_block(backends: Iterable[RegisteredBackend]) -> RenderableType:
    """The registered backends: name, what it is, how it is opened, and what it lacks here."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for backend in backends:
        table.add_row(Text(one_line(backend.name)), _about(backend))
    if not table.rows:
        return Text("no backend is registered; name your own as package.module:attribute or path/to/file.py:attribute")
    return table


def deviations_block(deviations: Iterable[Deviation]) -> RenderableType:
    """The deviations of a file: clause, reason, and what else is said of each."""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for deviation in deviations:
        table.add_row(deviation.clause, _about_deviation(deviation))
    return table if table.rows else Text("it declares no deviation")


def _about_deviation(deviation: Deviation) -> RenderableType:
    versions = "; ".join(f"{library} {specifier}" for library, specifier in deviation.versions.items())
    pinned = "its witness is replayed" if deviation.witness is not None else "searched for in every run"
    facts = (("since", deviation.since), ("with", versions), ("link", deviation.link), ("how", pinned))
    about = [Text(f"{name} {one_line(text)}", style="dim") for name, text in facts if text]
    return Group(Text(one_line(deviation.reason, 1000)), *about, Text(one_line(deviation.source), style="dim"))


def _about(backend: RegisteredBackend) -> RenderableType:
    about = [Text(backend.summary)] if backend.summary else []
    if backend.problem:
        return Group(*about, Text(f"not usable here: {backend.problem}", style="yellow"))
    return Group(*about, Text(backend.import_path, style="dim"))


def _table(clauses: list[Clause]) -> Padding:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold", ratio=1)
    for clause in clauses:
        sentence = Text.assemble(clause.sentence, (f" [{_profiles(clause)}]", "dim"))
        table.add_row(clause.id, clause.level, sentence)
    return Padding(table, (0, 0, 0, 2))


def _profiles(clause: Clause) -> str:
    return ", ".join(clause.profiles)
