"""Chunk items: what is too much for the head. Written before the head names them, and never changed after.

A chunk is a segment of the log (a list, as the tail is) or a piece of a batch (a text). Nobody finds one but by the
head, so a chunk whose writer died is out of everybody's way until `remove_orphans` finds it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from chathistory.adapters.dynamodb._calls import Change, Pause, Steps, call
from chathistory.adapters.dynamodb._failures import ERRORS, MissingChunkError, Patience, RefusedError
from chathistory.adapters.dynamodb._place import Item, Place

T = TypeVar("T")

PIECE_BYTES = 256 * 1024
"""How much of a batch one item holds: DynamoDB refuses items of more than 400 KB."""

_MOST_WRITES, _MOST_KEYS = 25, 100


def pieces_of(batch: str) -> list[str]:
    """A batch in pieces of a size that an item may have; it is ASCII, so that a character is a byte."""
    return [batch[start : start + PIECE_BYTES] for start in range(0, len(batch), PIECE_BYTES)]


def segment_value(pairs: Sequence[str]) -> Item:
    """The attributes of a chunk that is a segment."""
    return {"#tail": {"L": [{"S": text} for text in pairs]}}


def piece_value(piece: str) -> Item:
    """The attributes of a chunk that is a piece of a batch."""
    return {"#text": {"S": piece}}


def put_chunks(
    place: Place, patience: Patience, values: Mapping[str, Item], until: int | None, now: float
) -> Steps[None]:
    """Write chunks, by id; `until` is the second after which DynamoDB may delete them."""
    common = {"#head": {"M": dict(place.key)}, "#written": {"N": str(int(now))}}
    if until is not None:
        common["#expiry"] = {"N": str(until)}
    names = place.names
    puts = [
        {
            "PutRequest": {
                "Item": place.chunk_key(chunk) | {names[name]: item for name, item in (value | common).items()}
            }
        }
        for chunk, value in values.items()
    ]
    yield from _write(place, patience, puts)


def delete_chunks(place: Place, patience: Patience, chunks: Sequence[str]) -> Steps[None]:
    """Remove chunks that no head names any more. What can't be removed is left to `remove_orphans`."""
    deletes = [{"DeleteRequest": {"Key": place.chunk_key(chunk)}} for chunk in chunks]
    try:
        yield from _write(place, patience, deletes, may_be_left=False)
    except (*ERRORS, RefusedError):
        return  # nobody sees them, and what the caller asked for is done


def _write(
    place: Place, patience: Patience, requests: Sequence[dict[str, Any]], *, may_be_left: bool = True
) -> Steps[None]:
    for some in _portions(requests, _MOST_WRITES):
        left = list(some)
        tries = 0
        while left:
            answer = yield from call(
                patience, "batch_write_item", may_be_left=may_be_left, RequestItems={place.table: left}
            )
            unprocessed = answer.get("UnprocessedItems", {}).get(place.table, [])
            tries = 0 if len(unprocessed) < len(left) else tries + 1
            left = unprocessed
            if left:
                yield Pause(patience.pause_after_portion(tries))


def get_chunks(place: Place, patience: Patience, chunks: Sequence[str]) -> Steps[dict[str, Item]]:
    """Chunks by id, as they are now; those that are gone are left out."""
    found: dict[str, Item] = {}
    id_of = {_text_of(place.chunk_key(chunk)): chunk for chunk in chunks}
    for some in _portions(chunks, _MOST_KEYS):
        left = [place.chunk_key(chunk) for chunk in some]
        tries = 0
        while left:
            wanted = {place.table: {"Keys": left, "ConsistentRead": True}}
            answer = yield from call(patience, "batch_get_item", RequestItems=wanted)
            items = answer.get("Responses", {}).get(place.table, [])
            for item in items:
                key = {name: item[name] for name in place.key}
                found[id_of[_text_of(key)]] = item
            left = answer.get("UnprocessedKeys", {}).get(place.table, {}).get("Keys", [])
            tries = 0 if items else tries + 1
            if left and not items:
                yield Pause(patience.pause_after_portion(tries))
    return found


def get_segments(place: Place, patience: Patience, chunks: Sequence[str]) -> Steps[list[str]]:
    """The log that these segments hold, as tokens and texts in turn.

    Raises:
        MissingChunkError: if one of them is gone.
    """
    found = yield from get_chunks(place, patience, chunks)
    name = place.names["#tail"]
    return [text["S"] for chunk in chunks for text in _present(found, chunk)[name]["L"]]


def get_batches(place: Place, patience: Patience, batches: Sequence[Sequence[str]]) -> Steps[list[str]]:
    """The texts of batches, each of which is given as the ids of its pieces.

    Raises:
        MissingChunkError: if one of them is gone.
    """
    found = yield from get_chunks(place, patience, [piece for pieces in batches for piece in pieces])
    name = place.names["#text"]
    return ["".join(_present(found, piece)[name]["S"] for piece in pieces) for pieces in batches]


def set_expiry(place: Place, patience: Patience, chunk: str, until: int | None) -> Steps[None]:
    """Let DynamoDB delete a chunk after another second, or never.

    Raises:
        MissingChunkError: if it is gone.
    """
    change = Change(place, conditions=["attribute_exists(#key)"])
    if until is None:
        change.removes.append("#expiry")
    else:
        change.sets.append("#expiry = :until")
        change.values[":until"] = {"N": str(until)}
    try:
        yield from call(patience, "update_item", **change.arguments(place.chunk_key(chunk)))
    except RefusedError:
        raise MissingChunkError(chunk) from None


def _present(found: Mapping[str, Item], chunk: str) -> Item:
    if chunk not in found:
        raise MissingChunkError(chunk)
    return found[chunk]


def _text_of(key: Item) -> str:
    """A key as something that can be looked up; of a chunk's, its texts tell it from every other."""
    return "\0".join(value["S"] for value in key.values() if "S" in value)


def _portions(things: Sequence[T], most: int) -> Iterator[Sequence[T]]:
    for start in range(0, len(things), most):
        yield things[start : start + most]
