"""The log that a session is: entries, each a batch as text under a token, and what of them is still there.

An entry is JSON: `{"messages": […]}` holds the batch itself, `{"chunk": "id", "pieces": 4, "count": 250}` says where
it is. `"keep": N` in an entry means that after it only the last N messages are left (BND-1): so a bounded history
appends like any other, and what is no longer there is removed later. `"cut": N` means that the first N messages of
this batch are not there any more.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from chathistory.reference import DamagedMessageError


@dataclass(frozen=True, slots=True)
class Entry:
    """One batch of the log.

    Attributes:
        token: what tells it from every other, drawn by the add that wrote it.
        text: what is stored.
        data: what that says.
    """

    token: str
    text: str
    data: dict[str, Any]

    @property
    def count(self) -> int:
        """How many messages it has, without those that are cut off."""
        if "chunk" in self.data:
            return int(self.data["count"]) - int(self.data.get("cut", 0))
        return len(self.data["messages"])

    @property
    def chunks(self) -> list[str]:
        """The ids of the chunks that hold the batch."""
        return chunks_of(self.data["chunk"], int(self.data["pieces"])) if "chunk" in self.data else []


@dataclass(slots=True)
class Run:
    """What is left of an entry: its messages from `cut` on."""

    entry: Entry
    cut: int = 0

    @property
    def count(self) -> int:
        """How many messages are left."""
        return self.entry.count - self.cut


def chunks_of(chunk: str, pieces: int) -> list[str]:
    """The ids of the pieces of a batch."""
    return [f"{chunk}/{piece}" for piece in range(pieces)]


def inline(batch: str, keep: int | None) -> str:
    """The text of an entry that holds its batch, a JSON array."""
    return f'{{"messages": {batch}}}' if keep is None else f'{{"keep": {keep}, "messages": {batch}}}'


def reference(chunk: str, pieces: int, count: int, keep: int | None) -> str:
    """The text of an entry whose batch is in chunks."""
    bound = {} if keep is None else {"keep": keep}
    return json.dumps({"chunk": chunk, "pieces": pieces, "count": count, **bound})


def parse(pairs: list[str]) -> list[Entry]:
    """The entries of a list of tokens and texts in turn.

    Raises:
        DamagedMessageError: if it is none of ours.
    """
    if len(pairs) % 2:
        raise DamagedMessageError(f"the log is damaged: its last token, {pairs[-1][:100]!r}, has no entry")
    return [_entry(token, text) for token, text in zip(pairs[::2], pairs[1::2], strict=True)]


def _entry(token: str, text: str) -> Entry:
    entry = Entry(token, text, {})
    try:
        entry.data.update(json.loads(text))
        _check(entry.data)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise DamagedMessageError(f"the entry {token!r} of the log is damaged: {type(error).__name__}") from None
    return entry


def _check(data: dict[str, Any]) -> None:
    """Refuse what is no entry of ours.

    Raises:
        KeyError, TypeError, ValueError: if it is none.
    """
    in_chunks = "chunk" in data
    if not (isinstance(data["chunk"], str) if in_chunks else isinstance(data["messages"], list)):
        raise TypeError
    numbers = [data[name] for name in ("keep", "cut") if name in data]
    numbers += [data["pieces"], data["count"]] if in_chunks else []
    if any(type(number) is not int or number < 0 for number in numbers):
        raise ValueError


def remaining(entries: Iterable[Entry]) -> list[Run]:
    """What is still there of a log, or of an end of it that holds all that is still there."""
    runs: deque[Run] = deque()
    total = 0
    for entry in entries:
        runs.append(Run(entry))
        total += entry.count
        keep = entry.data.get("keep")
        while keep is not None and total > keep:
            excess = total - keep
            if runs[0].count <= excess:
                total -= runs.popleft().count
            else:
                runs[0].cut += excess
                total = keep
    return list(runs)


def shortened(run: Run) -> str:
    """The text of an entry that holds just what is left; the bound has done its work and goes."""
    data = {name: value for name, value in run.entry.data.items() if name != "keep"}
    if "chunk" in data:
        return json.dumps({**data, "cut": int(data.get("cut", 0)) + run.cut})
    return json.dumps({"messages": data["messages"][run.cut :]})


NOTHING = json.dumps({"messages": []})
"""The text of an entry of which nothing is left but its token."""
