"""Writes a report as Markdown for a comment on a pull request: a table, and a fold for each violation."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from chathistory.conformance._blocks import LOOKS, plain, seconds, unfinished, violation
from chathistory.conformance._report import ClauseResult, Outcome, Report
from chathistory.conformance._text import clip, counted, one_line
from chathistory.reference import FAMILIES, Family, clause

LONGEST = 60_000
"""GitHub takes comments of up to 65,536 characters."""

SIGNS: Mapping[Outcome, str] = {
    "passed": ":white_check_mark:",
    "failed": ":x:",
    "warned": ":warning:",
    "declared": ":memo:",
    "stale": ":x:",
    "undecided": ":grey_question:",
    "not-claimed": ":heavy_minus_sign:",
}
_SPECIAL = re.compile(r"([\\`*_\[\]|~!#$])")
_BACKTICKS = re.compile(r"`{3,}")


def markdown(report: Report, *, replay: Callable[[str], str]) -> str:
    """The report as Markdown.

    Args:
        report: of a run that ended, or was interrupted.
        replay: the command that checks a clause again.
    """
    text = "\n".join([*_head(report), "", *_table(report), ""])
    left_out = 0
    for result in report.with_outcome("failed", "stale", "warned"):
        fold = _fold(result, replay(result.id))
        if len(text) + len(fold) > LONGEST:
            left_out += 1
        else:
            text += f"\n{fold}"
    if left_out:
        text += f"\n{counted(left_out, 'further violation')} would not fit; the JSON report has them all.\n"
    return text


def escaped(text: str) -> str:
    """Text of others as Markdown that shows it as it is: no markup, no HTML, no mention of people."""
    safe = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe).replace("@", "@&#8203;")


def _head(report: Report) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in report.versions.items())
    configuration = report.configuration
    cut = [] if report.complete else ["", f"**Not all clauses were checked: {unfinished(report)}.**"]
    effort = f"{configuration.effort}, {counted(configuration.examples, 'example')} per clause"
    facts = [
        f"Claims {', '.join(report.claims)}",
        f"{effort}, seed {configuration.seed}",
        seconds(report.seconds),
        escaped(versions),
    ]
    title = f"### chathistory: {escaped(report.backend)}: {report.verdict}"
    return [title, *cut, "", "; ".join(facts)]


def _table(report: Report) -> list[str]:
    """A row for what passed of each family, and one for each clause that did not."""
    rows = ["| | Clause | Outcome | | Time |", "|---|---|---|---|---:|"]
    for family in FAMILIES:
        results = [each for each in report.clauses if clause(each.id).family == family.id]

        passed = [each for each in results if each.outcome == "passed"]
        rows += [_passed_row(family, passed)] if passed else []
        rows += [_row(each) for each in results if each.outcome not in ("passed", "not-claimed")]
    if unclaimed := report.with_outcome("not-claimed"):
        rows.append(f"| {SIGNS['not-claimed']} | {', '.join(each.id for each in unclaimed)} | not claimed | | |")
    return rows


def _passed_row(family: Family, results: list[ClauseResult]) -> str:
    total = seconds(sum(result.seconds for result in results))
    return f"| {SIGNS['passed']} | {family.id} | {len(results)} passed | {escaped(family.title)} | {total} |"


def _row(result: ClauseResult) -> str:
    sentence = escaped(clause(result.id).sentence)
    reason = f"<br>{escaped(result.reason)}" if result.reason else ""
    word = LOOKS[result.outcome].word
    return f"| {SIGNS[result.outcome]} | {result.id} | {word} | {sentence}{reason} | {seconds(result.seconds)} |"


def _fold(result: ClauseResult, replay: str) -> str:
    body = clip(plain(violation(result, replay=replay)), characters=8000, lines=150)
    fence = "`" * (3 + max((len(run) for run in _BACKTICKS.findall(body)), default=0))
    word = LOOKS[result.outcome].word.lower()
    return f"<details><summary>{result.id} {word}</summary>\n\n{fence}text\n{body}\n{fence}\n\n</details>\n"
