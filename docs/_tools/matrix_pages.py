"""Renders the saved reports of the matrix: `matrix.md`, `matrix/page.html`, `peers.md` and a script for each violation.

Rendering is fast and repeatable: the same reports and the same file of mends make the same files, byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from docs._tools.mends import Broken, Peer, load_mends, violations
from docs._tools.published import PEERS, Publication, head

from chathistory.conformance._blocks import LOOKS
from chathistory.conformance._commands import CheckRequest
from chathistory.conformance._files import Destinations, write_file, write_scripts
from chathistory.conformance._html import matrix_page
from chathistory.conformance._markdown import escaped
from chathistory.conformance._matrix import FamilyCell, Matrix, counts, facts, family_cell
from chathistory.conformance._report import ClauseResult, Counterexample, Outcome, Report
from chathistory.conformance._text import one_line
from chathistory.reference import FAMILIES, Clause

_LONGEST_SENTENCE, _LONGEST_CALL = 300, 120
_WORDS: Mapping[Outcome, str] = {
    "passed": "kept",
    "failed": "broken",
    "warned": "a SHOULD that is broken",
    "declared": "declared by its author",
    "stale": "declared, and no longer broken",
    "undecided": "undecided",
    "not-claimed": "not claimed",
}


def render(publication: Publication) -> list[Path]:
    """Write all pages and scripts of the matrix, and remove scripts that belong to no violation any more.

    Returns:
        The pages.
    """
    reports, matrix, peers = publication.reports(), publication.matrix(), load_mends()
    scripts = _write_scripts(publication, reports)
    pages = {
        publication.docs / "matrix.md": matrix_text(matrix, reports),
        publication.folder / "page.html": matrix_page(matrix, replay=_replay),
        publication.docs / "peers.md": peers_text(reports, peers, scripts),
    }
    for path, text in pages.items():
        write_file(path, text)
    return list(pages)


def clause_link(clause_id: str) -> str:
    """A link from a page in the folder of the documentation to a clause."""
    return f"[{clause_id}](clauses/{clause_id.partition('-')[0].lower()}.md#{clause_id.lower()})"


def _write_scripts(publication: Publication, reports: Mapping[str, Report]) -> dict[tuple[str, str], str]:
    """The path of each script from the folder of the documentation, by target and clause."""
    publication.scripts.mkdir(parents=True, exist_ok=True)
    written = {
        (target, clause_id): Path(path).relative_to(publication.docs).as_posix()
        for target, report in reports.items()
        for clause_id, path in write_scripts(report, publication.scripts).paths.items()
    }
    for path in publication.scripts.glob("*.py"):
        if path.relative_to(publication.docs).as_posix() not in written.values():
            path.unlink()
    return written


def _replay(report: Report, clause_id: str) -> str:
    """The command that checks a clause again as its run did."""
    request = CheckRequest(
        target=report.target,
        claims=None,
        clauses=(),
        configuration=report.configuration,
        destinations=Destinations(),
    )
    return request.replay(clause_id)


# The matrix.


def matrix_text(matrix: Matrix, reports: Mapping[str, Report]) -> str:
    """`matrix.md`: backends by families, then by clauses, then how each was run."""
    lines = [
        head("matrix"),
        *_legend(matrix),
        "",
        "## By family",
        "",
        "The worst outcome of a family, and of how many of its clauses.",
        "",
        *_table(
            ["backend", *(f"[{each.id}](clauses/{each.id.lower()}.md)" for each in FAMILIES)], _family_rows(reports)
        ),
        "",
        "## By clause",
        "",
        *_clause_tables(matrix, reports),
        "## How each was run",
        "",
        *(_about(target, report) for target, report in reports.items()),
        *(f"- {escaped(problem)}" for problem in matrix.problems),
    ]
    return "\n".join([*lines, ""])


def sign(outcome: Outcome) -> str:
    """An outcome as a character; what was looked at and is not as it should be stands out."""
    symbol = LOOKS[outcome].symbol.replace("~", "\\~")
    return symbol if outcome in ("passed", "not-claimed") else f"**{symbol}**"


def _legend(matrix: Matrix) -> list[str]:
    used = {cell.outcome for each in matrix.clauses for cell in matrix.row(each.id) if cell}
    return [", ".join(f"{sign(outcome)} {word}" for outcome, word in _WORDS.items() if outcome in used) + "."]


def _table(head: list[str], rows: Iterator[list[str]]) -> list[str]:
    ruled = [head, ["---", *[":-:"] * (len(head) - 1)], *rows]
    return [f"| {' | '.join(row)} |" for row in ruled]


def _family_rows(reports: Mapping[str, Report]) -> Iterator[list[str]]:
    for target, report in reports.items():
        yield [_name(target), *(_family_text(family_cell(report, family)) for family in FAMILIES)]


def _family_text(cell: FamilyCell | None) -> str:
    return "" if cell is None else f"{sign(cell.outcome)} {cell.number}".rstrip()


def _clause_tables(matrix: Matrix, reports: Mapping[str, Report]) -> Iterator[str]:
    """Ours and the peers apart: fourteen columns fit on no page."""
    for title, chosen in (
        ("Our adapters, and the reference", [target for target in reports if target not in PEERS]),
        ("The histories that people use", [target for target in reports if target in PEERS]),
    ):
        if chosen:
            rows = (_clause_row(each, chosen, reports) for each in matrix.clauses)
            yield from [f"### {title}", "", *_table(["clause", *map(_name, chosen)], rows), ""]


def _clause_row(rule: Clause, targets: list[str], reports: Mapping[str, Report]) -> list[str]:
    cells = [_cell(target, _result(reports[target], rule.id)) for target in targets]
    return [clause_link(rule.id) + (" (SHOULD)" if rule.level == "SHOULD" else ""), *cells]


def _result(report: Report, clause_id: str) -> ClauseResult | None:
    return next((result for result in report.clauses if result.id == clause_id), None)


def _cell(target: str, result: ClauseResult | None) -> str:
    if result is None:
        return ""
    shows = target in PEERS and result.counterexample is not None
    return f"[{sign(result.outcome)}](peers.md#{anchor(target, result.id)})" if shows else sign(result.outcome)


def _name(target: str) -> str:
    """A target's name; that of a peer leads to what is wrong with it."""
    return f"[{target.removeprefix('peer:')}](peers.md#{anchor(target)})" if target in PEERS else target


def anchor(target: str, clause_id: str = "") -> str:
    """The anchor of a peer, or of one of its violations, in `peers.md`."""
    return "-".join([target.replace(":", "-"), clause_id.lower()]).rstrip("-")


def _about(target: str, report: Report) -> str:
    saved = f"[{target}](matrix/{target.replace(':', '-')}.json)"
    return f"- {saved}: {report.verdict}: {counts(report)}; {escaped(facts(report))}"


# The peers.


def peers_text(reports: Mapping[str, Report], peers: Mapping[str, Peer], scripts: Mapping[tuple[str, str], str]) -> str:
    """`peers.md`: what each peer breaks, how it shows, and what would mend it."""
    checked = {target: report for target, report in reports.items() if target in PEERS}
    lines = [
        head("peers"),
        "| peer | claims | verdict | breaks (SHOULD in brackets) |",
        "|---|---|---|---|",
        *(_peer_row(target, report, peers[target]) for target, report in checked.items()),
        "",
    ]
    for target, report in checked.items():
        lines += _peer_section(report, peers[target], scripts)
    return "\n".join(lines)


def _peer_row(target: str, report: Report, peer: Peer) -> str:
    own = [result for result in violations(report) if result.id not in peer.repeated]
    broken = ", ".join(each.id for each in own if each.outcome != "warned")
    should = ", ".join(each.id for each in own if each.outcome == "warned")
    all_of_them = f"{broken} ({should})" if should else broken
    return f"| [`{target}`](#{anchor(target)}) | {', '.join(report.claims)} | {report.verdict} | {all_of_them} |"


def _peer_section(report: Report, peer: Peer, scripts: Mapping[tuple[str, str], str]) -> list[str]:
    found = {result.id: result for result in violations(report)}
    lines = [_anchors(anchor(peer.name)), "", f"## `chathistory check {peer.name}`", ""]
    lines += [f"{peer.history}, {peer.opened}", ""]
    lines += [escaped(facts(report)) + ".", ""]
    for each in peer.broken:
        lines += _broken_block(peer, each, found, scripts)
    for other in peer.again:
        shown = [_seen(peer, found[clause_id], scripts) for clause_id in other.clauses if clause_id in found]
        if shown:
            lines += [
                _heading(peer, other.clauses),
                "",
                f"{other.why.strip()} This is {other.of} again.",
                "",
                *shown,
                "",
            ]
    for clause_id in (clause_id for clause_id in found if clause_id not in peer.explained):
        lines += [_heading(peer, (clause_id,)), "", _seen(peer, found[clause_id], scripts), ""]
    return [*lines, *([peer.remarks.strip(), ""] if peer.remarks.strip() else [])]


def _broken_block(
    peer: Peer, broken: Broken, found: Mapping[str, ClauseResult], scripts: Mapping[tuple[str, str], str]
) -> list[str]:
    """What is wrong, what would mend it, and how the run has shown it."""
    shown = [clause_id for clause_id in broken.clauses if clause_id in found]
    if not shown and not broken.by_chance:
        return []
    lines = [_heading(peer, broken.clauses), "", broken.wrong.strip(), "", f"**Mend:** {broken.mend.strip()}", ""]
    lines += [_seen(peer, found[clause_id], scripts) for clause_id in shown]
    if unseen := [clause_id for clause_id in broken.clauses if clause_id not in found]:
        lines += [f"- {', '.join(unseen)}: not seen in this run{'; it depends on chance' if broken.by_chance else ''}."]
    return [*lines, ""]


def _heading(peer: Peer, clause_ids: tuple[str, ...]) -> str:
    """A heading with an anchor for each of its clauses, so that every cell of the matrix can lead to it."""
    return f"{_anchors(*(anchor(peer.name, each) for each in clause_ids))}\n\n### {', '.join(clause_ids)}"


def _anchors(*names: str) -> str:
    """Anchors that this site and GitHub understand alike."""
    return "".join(f'<a id="{name}"></a>' for name in names)


def _seen(peer: Peer, result: ClauseResult, scripts: Mapping[tuple[str, str], str]) -> str:
    """How a run has shown a violation: at which call, in the counterexample's own sentence, and the script."""
    level = " (SHOULD)" if result.level == "SHOULD" else ""
    script = scripts.get((peer.name, result.id))
    where = f" ([script]({script}))" if script else ""
    return f"- {clause_link(result.id)}{level}: *seen* {_sentence(result)}{where}"


def _sentence(result: ClauseResult) -> str:
    found = result.counterexample
    if found is None:
        return escaped(one_line(result.reason, _LONGEST_SENTENCE))
    call = code(one_line(found.lines[found.step], _LONGEST_CALL))
    said = escaped(one_line(found.explanation, _LONGEST_SENTENCE))
    return f"at {call}: {said}{_observed(found)}"


def _observed(found: Counterexample) -> str:
    """What was observed, if that is a line and the sentence does not say it already."""
    observed = found.observed.strip()
    if "\n" in observed or observed.casefold() in found.explanation.casefold() or found.timeline_svg:
        return ""
    return f" Observed: {escaped(one_line(observed, _LONGEST_SENTENCE)).removesuffix('.')}."


def code(text: str) -> str:
    """A line as inline code, also if it holds backticks or begins with one."""
    if "`" not in text:
        return f"`{text}`"
    return f"`` {text} ``"
