"""Writes a page for each family of clauses, from the clauses themselves: each with its reason and an example.

The examples are counterexamples of planted defects, kept in `docs/_data/examples.json` (see `collect_examples`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from docs._tools.matrix_pages import anchor, code
from docs._tools.mends import load_mends, violations
from docs._tools.published import DOCS, PEERS, Publication, head

from chathistory.reference import CLAUSES, FAMILIES, PROFILES, Clause, Family

EXAMPLES = DOCS / "_data" / "examples.json"

_HALF_A_PAGE = 38  # characters, of code

_PROMISES: Mapping[str, str] = {
    "core": "what every history owes; always claimed",
    "async": "the async calls do what the sync ones do",
    "threads": "concurrent threads of one process",
    "processes": "concurrent processes",
    "durable": "what outlives a process, a connection, a server",
    "bounded": "`history_size`",
    "expiry": "`ttl`",
}


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the site that is made from the code.

    Attributes:
        path: in the folder of the documentation.
        title: for the navigation.
        text: Markdown.
    """

    path: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Example:
    """A counterexample of a planted defect.

    Attributes:
        defect: the lie that the history tells.
        story: how it comes about in real life.
        lines: the program, a line for each step.
        step: the index of the step that diverged.
        expected: what the reference returns there.
        observed: what the history did.
        explanation: what differs, in a sentence.
        script: a script that shows it without this library; empty if it is too long to be read.
    """

    defect: str
    story: str
    lines: tuple[str, ...]
    step: int
    expected: str
    observed: str
    explanation: str
    script: str

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Example:
        """The example of an entry of the file."""
        return cls(**{**data, "lines": tuple(data["lines"])})


@cache
def examples() -> Mapping[str, Example]:
    """The examples of the file, by clause."""
    if not EXAMPLES.exists():
        return {}
    return {name: Example.from_json(entry) for name, entry in json.loads(EXAMPLES.read_text("utf-8")).items()}


@cache
def clause_pages() -> tuple[Page, ...]:
    """The page of each family, and before them the one that leads to them."""
    broken = _broken_by()
    return (Page("clauses/index.md", "The clauses", _index()), *(_family_page(family, broken) for family in FAMILIES))


@cache
def _broken_by() -> Mapping[str, tuple[str, ...]]:
    """The peers that break each clause, by the published reports."""
    reports, peers = Publication().reports(), load_mends()
    found = {
        target: {result.id for result in violations(reports[target])} - set(peers[target].repeated)
        for target in PEERS
        if target in reports
    }
    return {each.id: tuple(target for target in found if each.id in found[target]) for each in CLAUSES}


def _index() -> str:
    lines = [head("clauses"), "| profile | is about | clauses |", "|---|---|---|"]
    lines += [f"| `{profile}` | {_PROMISES[profile]} | {_linked(profile)} |" for profile in PROFILES]
    lines += ["", "## Families", "", "| family | | |", "|---|---|---|"]
    lines += [f"| [{each.id}]({each.id.lower()}.md) | {each.title} | {text(each.summary)} |" for each in FAMILIES]
    return "\n".join([*lines, ""])


def _linked(profile: str) -> str:
    """The clauses of a profile, those of a family that is in it as a whole as one."""
    links = []
    for family in FAMILIES:
        members = [each for each in CLAUSES if each.family == family.id]
        inside = [each for each in members if profile in each.profiles]
        if inside == members:
            links.append(f"[{family.id}]({family.id.lower()}.md)")
        else:
            links += [f"[{each.id}]({family.id.lower()}.md#{each.id.lower()})" for each in inside]
    return ", ".join(links)


def _family_page(family: Family, broken: Mapping[str, tuple[str, ...]]) -> Page:
    lines = [f"# {family.id}: {family.title}", "", text(family.summary), ""]
    for each in CLAUSES:
        if each.family == family.id:
            lines += _clause(each, broken[each.id])
    return Page(f"clauses/{family.id.lower()}.md", f"{family.id}: {family.title}", "\n".join(lines))


def _clause(rule: Clause, broken_by: tuple[str, ...]) -> Iterator[str]:
    yield from (f"## {rule.id} {{#{rule.id.lower()}}}", "", f"**{text(rule.sentence)}**", "")
    yield from (f"{rule.level}, in {' and '.join(f'`{profile}`' for profile in rule.profiles)}.", "")
    yield from (f"*Why:* {text(rule.rationale)}", "", "*What usually breaks it:*", "")
    yield from (f"- {text(cause)}" for cause in rule.causes)
    yield ""
    if broken_by:
        links = (f"[{target}](../peers.md#{anchor(target, rule.id)})" for target in broken_by)
        yield from (f"*Broken by* {', '.join(links)}.", "")
    if rule.id in examples():
        yield from _example(rule, examples()[rule.id])


def _example(rule: Clause, example: Example) -> Iterator[str]:
    yield from (f"### Example {{#{rule.id.lower()}-example}}", "")
    yield from (f"A planted defect, {code(example.defect)}: {text(example.story)}", "")
    yield from _fenced("\n".join(example.lines), f'python linenums="1" hl_lines="{example.step + 1}"')
    narrow = all(len(line) <= _HALF_A_PAGE for line in f"{example.expected}\n{example.observed}".split("\n"))
    yield from (f'<div class="{"sides" if narrow else "above"}" markdown>', "")
    yield from _fenced(example.expected, 'text title="expected"')
    yield from _fenced(example.observed, 'text title="observed"')
    yield from ("</div>", "")
    if " ".join(example.explanation.split()) not in " ".join(example.observed.split()):
        yield from (text(example.explanation), "")
    if example.script:
        inside = _fenced(example.script.rstrip("\n"), "python")
        yield from ('??? abstract "The script"', "", *(f"    {line}" if line else "" for line in _lines(inside)), "")


def _lines(blocks: Iterator[str]) -> Iterator[str]:
    for block in blocks:
        yield from block.split("\n")


def _fenced(content: str, header: str) -> Iterator[str]:
    """A block of code that no content can end early."""
    fence = "`" * max(3, 1 + max((len(run) for run in _runs_of_backticks(content)), default=0))
    yield from (f"{fence}{{ .{header} }}", content, fence, "")


def _runs_of_backticks(content: str) -> list[str]:
    return [run for run in "".join(c if c == "`" else " " for c in content).split(" ") if run]


def text(words: str) -> str:
    """Plain words as Markdown that shows them as they are."""
    shown = " ".join(words.split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return "".join(f"\\{c}" if c in "\\`*_[]|~!#$" else c for c in shown)
