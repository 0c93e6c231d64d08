"""Writes a report as JUnit XML, a test case per clause, for the test views of CI servers."""

from __future__ import annotations

from xml.etree.ElementTree import Element, SubElement, indent, tostring

from chathistory.conformance._blocks import LOOKS, plain, unfinished, violation
from chathistory.conformance._report import ClauseResult, Report
from chathistory.conformance._text import printable
from chathistory.reference import clause


def junit_xml(report: Report) -> str:
    """The report as the text of a JUnit XML file.

    A deviation that was declared, or a clause that is not claimed, is a skipped case; one that is undecided
    an error, as is a run that did not end.
    """
    suite = Element("testsuite", _counts(report))
    _properties(suite, report)
    for result in report.clauses:
        _case(suite, report.backend, result)
    if not report.complete:
        case = SubElement(suite, "testcase", classname=_classname(report.backend), name="run", time="0")
        SubElement(case, "error", message=f"not all clauses were checked: {unfinished(report)}", type="incomplete")
    suites = Element("testsuites", name="chathistory")
    suites.append(suite)
    indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(suites, encoding="unicode") + "\n"


def _counts(report: Report) -> dict[str, str]:
    unfinished = 0 if report.complete else 1
    return {
        "name": printable(f"chathistory {report.backend}"),
        "tests": str(len(report.clauses) + unfinished),
        "failures": str(len(report.with_outcome("failed", "stale"))),
        "errors": str(len(report.with_outcome("undecided")) + unfinished),
        "skipped": str(len(report.with_outcome("not-claimed", "declared"))),
        "time": f"{report.seconds:.3f}",
        "timestamp": printable(report.started),
    }


def _properties(suite: Element, report: Report) -> None:
    properties = SubElement(suite, "properties")
    named = {
        "backend": report.backend,
        "claims": ", ".join(report.claims),
        "complete": str(report.complete).lower(),
        "seed": str(report.configuration.seed),
        "verdict": report.verdict,
        **{f"version {name}": version for name, version in report.versions.items()},
    }
    for name, value in named.items():
        SubElement(properties, "property", name=printable(name), value=printable(value))


def _classname(backend: str) -> str:
    return printable(f"chathistory.{backend}")


def _case(suite: Element, backend: str, result: ClauseResult) -> None:
    case = SubElement(suite, "testcase", classname=_classname(backend), name=result.id, time=f"{result.seconds:.4f}")
    sentence = clause(result.id).sentence
    message = printable(result.reason or sentence)
    match result.outcome:
        case "failed" | "stale":
            body = SubElement(case, "failure", message=printable(sentence), type=result.outcome)
            body.text = plain(violation(result))
        case "undecided":
            SubElement(case, "error", message=message, type=result.outcome)
        case "declared" | "not-claimed":
            SubElement(case, "skipped", message=message, type=LOOKS[result.outcome].word)
        case "warned":
            SubElement(case, "system-out").text = plain(violation(result))
        case _:
            pass
