"""Makes a report out of a JSON report that this version, an older or a newer one has written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, TypeVar, get_args

from chathistory.conformance._errors import UsageError
from chathistory.conformance._files import read_report
from chathistory.conformance._report import Asked, ClauseResult, Configuration, Counterexample, Outcome, Report
from chathistory.conformance._text import error_line
from chathistory.reference import PROFILES, ChatHistoryError, clause

_Type = TypeVar("_Type")
_NUMBER: tuple[type, ...] = (int, float)
_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "backend": str,
    "target": str,
    "complete": bool,
    "seconds": _NUMBER,
    "started": str,
    "id": str,
    "reason": str,
    "programs": int,
    "operations": int,
    "step": int,
    "expected": str,
    "observed": str,
    "explanation": str,
    "script": str,
    "search": str,
    "timeline_svg": str,
    "program": dict,
    "versions": dict,
    "effort": str,
    "examples": int,
    "seed": int,
    "timeout": _NUMBER,
    "command": str,
    "server": str,
    "deviations": str,
}


def saved_report(path: Path) -> Report:
    """The report in a file; keys that this version does not know are left out.

    Raises:
        UsageError: it can't be read, is no report, or is damaged.
    """
    data = read_report(path)
    try:
        return _report(data)
    except (KeyError, TypeError, ValueError, AttributeError, ChatHistoryError) as error:
        raise UsageError(f"{str(path)!r} is damaged, or of another version: {error_line(error)}") from error


def _report(data: Mapping[str, Any]) -> Report:
    return Report(
        backend=_typed(data, "backend"),
        target=_typed(data, "target"),
        claims=tuple(each for each in PROFILES if each in data["claims"]),
        configuration=_made(Configuration, data["configuration"]),
        versions={str(name): str(version) for name, version in _typed(data, "versions").items()},
        clauses=tuple(_result(entry) for entry in data["clauses"]),
        complete=_typed(data, "complete"),
        seconds=_typed(data, "seconds"),
        started=_typed(data, "started"),
        notes=_texts(data["notes"]),
        asked=_asked(data.get("asked", {})),
        limits={str(name): limit for name, limit in data.get("limits", {}).items() if type(limit) is int},
    )


def _asked(data: Mapping[str, Any]) -> Asked:
    """What was asked for; nothing is known of it in reports of older versions."""
    claims, clauses = data.get("claims", []), data.get("clauses", [])
    return replace(
        _made(Asked, data), claims=tuple(each for each in PROFILES if each in claims), clauses=_texts(clauses)
    )


def _result(data: Mapping[str, Any]) -> ClauseResult:
    if data["outcome"] not in get_args(Outcome):
        raise ValueError(f"no clause has the outcome {data['outcome']!r}")
    found = data["counterexample"]
    counterexample = None if found is None else _made(Counterexample, {**found, "lines": _texts(found["lines"])})
    rule = clause(data["id"])
    given = {**data, "id": rule.id, "level": rule.level, "counterexample": counterexample}
    return _made(ClauseResult, {**given, "notes": _texts(data["notes"])})


def _made(kind: type[_Type], data: Mapping[str, Any]) -> _Type:
    """An instance made of those keys that it has fields for."""
    names = [field.name for field in fields(kind) if field.name in data]  # type: ignore[arg-type]
    return kind(**{name: _typed(data, name) for name in names})


def _typed(data: Mapping[str, Any], name: str) -> Any:
    """The value of a key, of the type it must have."""
    value = data[name]
    if name in _TYPES and not isinstance(value, _TYPES[name]):
        raise TypeError(f"{name} is {value!r:.60}")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise TypeError(f"expected a list of texts, not {value!r:.60}")
    return tuple(value)
