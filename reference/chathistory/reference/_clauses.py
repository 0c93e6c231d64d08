"""The clauses are data, read once here, so that checks, reports and documents speak of the same rules.

``clauses.json`` beside this module holds every clause of the semantics of a chat message history: its id
and level, the profiles that bring it into force, its one-sentence text, why applications need it, and what
usually breaks it. This module turns that file into immutable objects at import and refuses a malformed one,
naming the clause at fault; it knows nothing of how a clause is checked.

::

    FAMILIES, CLAUSES         everything, in the order of the semantics
    clause("ORD-3")           one clause by its id
    select(["ORD", "cost-1"]) the clauses that ids and family names stand for, as a person types them
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from difflib import get_close_matches
from importlib.resources import files
from typing import TYPE_CHECKING, Literal, TypeVar, get_args

from chathistory.reference._errors import UnknownClauseError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Level = Literal["MUST", "SHOULD"]
Profile = Literal["core", "async", "threads", "processes", "durable", "bounded", "expiry"]

LEVELS: tuple[Level, ...] = get_args(Level)
PROFILES: tuple[Profile, ...] = get_args(Profile)

_FILE = "clauses.json"
_SCHEMA = 1
_FAMILY_KEYS = frozenset({"id", "title", "summary"})
_CLAUSE_KEYS = frozenset({"id", "family", "level", "profiles", "sentence", "rationale", "causes"})
_CAUSES_MIN, _CAUSES_MAX = 2, 4
# Low enough for "durability" to find DUR, high enough for nonsense to find nothing.
_CLOSE_ENOUGH = 0.4

_Word = TypeVar("_Word", bound=str)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A group of clauses about one subject.

    Attributes:
        id: The short name that starts the id of each of its clauses, such as ``ORD``.
        title: Its subject in a word or two.
        summary: What its clauses promise together, in one sentence.
    """

    id: str
    title: str
    summary: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Clause:
    """One rule that a chat message history owes its callers.

    Attributes:
        id: Its stable name, such as ``ORD-3``.
        family: The id of its family.
        level: ``MUST`` fails a backend, ``SHOULD`` is reported as a warning.
        profiles: The clause applies when a backend claims any of these.
        sentence: The rule itself; in a report of its violation this is the headline.
        rationale: What goes wrong in an application without it.
        causes: What usually breaks it, for the author of a backend.
    """

    id: str
    family: str
    level: Level
    profiles: tuple[Profile, ...]
    sentence: str
    rationale: str
    causes: tuple[str, ...]


def clause(clause_id: str) -> Clause:
    """The clause of that id, in upper or lower case.

    Raises:
        UnknownClauseError: No clause has this id.
    """
    found = _CLAUSE_OF_ID.get(clause_id.upper())
    if found is None:
        raise _unknown("clause", clause_id, _CLAUSE_OF_ID)
    return found


def select(names: Iterable[str]) -> tuple[Clause, ...]:
    """The clauses that the names stand for, in the order of the semantics, each of them once.

    Args:
        names: Ids of clauses (``ORD-3``) and of families (``ORD``), in upper or lower case.

    Raises:
        UnknownClauseError: A name is neither a clause nor a family.
        TypeError: ``names`` is a single str, which would be read letter by letter.
    """
    if isinstance(names, str):
        raise TypeError(f"select() takes several names: write select([{names!r}]), not select({names!r})")
    wanted = {clause_id for name in names for clause_id in _ids_of(name)}
    return tuple(each for each in CLAUSES if each.id in wanted)


def _ids_of(name: str) -> Collection[str]:
    """The ids of the clauses that one name, of a clause or of a family, stands for."""
    word = name.upper()
    if word in _CLAUSE_OF_ID:
        return (word,)
    if word in _IDS_OF_FAMILY:
        return _IDS_OF_FAMILY[word]
    raise _unknown("clause or family", name, [*_IDS_OF_FAMILY, *_CLAUSE_OF_ID])


def _unknown(kind: str, name: str, candidates: Iterable[str]) -> UnknownClauseError:
    """The error for a name that does not exist: the name, what may have been meant, and what there is."""
    close = get_close_matches(name.upper(), list(candidates), n=1, cutoff=_CLOSE_ENOUGH)
    hint = f" Did you mean {close[0]}?" if close else ""
    families = ", ".join(_IDS_OF_FAMILY)
    return UnknownClauseError(f"There is no {kind} {name!r}.{hint} The families are {families}.")


# Reading the file. Each of these functions takes one step down into the data and says where it stands.


def _parse(text: str) -> tuple[tuple[Family, ...], tuple[Clause, ...]]:
    """The families and clauses of the file's text.

    Raises:
        ValueError: The text is malformed; the message names the clause or family at fault.
    """
    data = json.loads(text)
    if not isinstance(data, dict) or data.get("schema") != _SCHEMA:
        raise ValueError(f'{_FILE}: expected an object with "schema": {_SCHEMA}')
    families = tuple(_parse_family(entry) for entry in _entries(data, "families"))
    clauses = tuple(_parse_clause(entry) for entry in _entries(data, "clauses"))
    _refuse_duplicates(family.id for family in families)
    _refuse_duplicates(each.id for each in clauses)
    _match_families(families, clauses)
    return families, clauses


def _parse_family(entry: dict[str, object]) -> Family:
    """One family from its JSON object."""
    where = _where(entry)
    _require_keys(entry, _FAMILY_KEYS, where)
    return Family(
        id=_text(entry["id"], f"{where}: id"),
        title=_text(entry["title"], f"{where}: title"),
        summary=_text(entry["summary"], f"{where}: summary"),
    )


def _parse_clause(entry: dict[str, object]) -> Clause:
    """One clause from its JSON object."""
    where = _where(entry)
    _require_keys(entry, _CLAUSE_KEYS, where)
    return Clause(
        id=_text(entry["id"], f"{where}: id"),
        family=_text(entry["family"], f"{where}: family"),
        level=_one_of(LEVELS, entry["level"], f"{where}: level"),
        profiles=_parse_profiles(entry["profiles"], f"{where}: profiles"),
        sentence=_text(entry["sentence"], f"{where}: sentence"),
        rationale=_text(entry["rationale"], f"{where}: rationale"),
        causes=_parse_causes(entry["causes"], f"{where}: causes"),
    )


def _parse_profiles(value: object, where: str) -> tuple[Profile, ...]:
    """The profiles of a clause: known ones, and at least one, or the clause would never apply."""
    profiles = tuple(_one_of(PROFILES, name, where) for name in _texts(value, where))
    if not profiles or len(set(profiles)) < len(profiles):
        raise ValueError(f"{where}: expected one or more profiles, each once, not {list(profiles)}")
    return profiles


def _parse_causes(value: object, where: str) -> tuple[str, ...]:
    """The likely causes of a violation: some, but few enough to be read."""
    causes = _texts(value, where)
    if not _CAUSES_MIN <= len(causes) <= _CAUSES_MAX:
        raise ValueError(f"{where}: expected {_CAUSES_MIN} to {_CAUSES_MAX} texts, not {len(causes)}")
    return causes


def _entries(data: dict[str, object], key: str) -> list[dict[str, object]]:
    """The list of JSON objects under a key of the file."""
    entries = data.get(key)
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"{_FILE}: {key}: expected a list with something in it")
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or "id" not in entry:
            raise ValueError(f"{_FILE}: {key}, position {position}: expected an object with an id")
    return entries


def _where(entry: dict[str, object]) -> str:
    """The place that an error about this family or clause names."""
    return f"{_FILE}: {entry['id']}"


def _require_keys(entry: dict[str, object], keys: frozenset[str], where: str) -> None:
    """Refuse an object with a key too few or too many, since either is a slip of the pen."""
    if entry.keys() != keys:
        raise ValueError(f"{where}: missing or unknown keys: {', '.join(sorted(entry.keys() ^ keys))}")


def _text(value: object, where: str) -> str:
    """A text with something in it."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{where}: expected a text, not {value!r}")
    return value


def _texts(value: object, where: str) -> tuple[str, ...]:
    """A list of such texts."""
    if not isinstance(value, list):
        raise ValueError(f"{where}: expected a list of texts, not {value!r}")
    return tuple(_text(each, where) for each in value)


def _one_of(allowed: tuple[_Word, ...], value: object, where: str) -> _Word:
    """The allowed word that the value equals."""
    for word in allowed:
        if value == word:
            return word
    raise ValueError(f"{where}: expected one of {', '.join(allowed)}, not {value!r}")


def _refuse_duplicates(ids: Iterable[str]) -> None:
    """Refuse a second entry of the same id: it would hide the first."""
    seen: set[str] = set()
    for each in ids:
        if each in seen:
            raise ValueError(f"{_FILE}: {each}: there are two of this id")
        seen.add(each)


def _match_families(families: tuple[Family, ...], clauses: tuple[Clause, ...]) -> None:
    """Refuse a clause outside its family, and a family without clauses: selecting it would check nothing."""
    known = {family.id for family in families}
    for each in clauses:
        prefix, _, number = each.id.partition("-")
        if each.family not in known or prefix != each.family or not number.isdecimal():
            raise ValueError(f"{_FILE}: {each.id}: expected a known family, and an id such as ORD-3")
    for empty in sorted(known - {each.family for each in clauses}):
        raise ValueError(f"{_FILE}: {empty}: no clause belongs to this family")


FAMILIES: tuple[Family, ...]
"""All families, in the order of the semantics."""

CLAUSES: tuple[Clause, ...]
"""All clauses, in the order of the semantics."""

FAMILIES, CLAUSES = _parse(files("chathistory.reference").joinpath(_FILE).read_text(encoding="utf-8"))

_CLAUSE_OF_ID = {each.id: each for each in CLAUSES}
_IDS_OF_FAMILY = {family.id: [each.id for each in CLAUSES if each.family == family.id] for family in FAMILIES}
