"""Tables made for histories, and cleared of what dead writers have left in them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NoReturn

from botocore.exceptions import ClientError, WaiterError

from chathistory.adapters.dynamodb._attempts import chunks_named_by
from chathistory.adapters.dynamodb._batch import Settings
from chathistory.adapters.dynamodb._calls import Steps, read_item
from chathistory.adapters.dynamodb._chunks import delete_chunks
from chathistory.adapters.dynamodb._clients import clients_of, default_session
from chathistory.adapters.dynamodb._drive import drive
from chathistory.adapters.dynamodb._failures import ERRORS, OWN_ERRORS, Patience, cause_of, without_secrets
from chathistory.adapters.dynamodb._head import Head
from chathistory.adapters.dynamodb._place import (
    CHUNK,
    Item,
    Place,
    checked_name,
    checked_place,
    checked_table,
    id_of_chunk,
)
from chathistory.reference import DamagedMessageError, StoreError

if TYPE_CHECKING:
    from boto3.session import Session

_DAY = 24 * 3600.0
_ACTIVE = {"Delay": 1, "MaxAttempts": 120}


def create_table(
    table_name: str,
    *,
    primary_key_name: str = "SessionId",
    sort_key_name: str | None = None,
    ttl_key_name: str | None = "expireAt",
    endpoint_url: str | None = None,
    boto3_session: Session | None = None,
) -> None:
    """Make a table for histories, paid per request, and return once it is there; nothing is changed if it is.

    Args:
        table_name: the table.
        primary_key_name: its partition key, a string.
        sort_key_name: its sort key, a string, if it is to have one; handles on it are then given `key`.
        ttl_key_name: the attribute for DynamoDB's time to live, switched on for it; None leaves that as it is.
        endpoint_url: where DynamoDB is, if not where AWS has it.
        boto3_session: where region and credentials come from; boto3's default session if None.

    Raises:
        TypeError, ValueError: if a name can't be one.
        StoreError: if it could not be made, or is there with another key.
    """
    keys = {checked_name(primary_key_name, "primary_key_name"): "HASH"}
    if sort_key_name is not None:
        keys[checked_name(sort_key_name, "sort_key_name")] = "RANGE"
    checked_table(table_name)
    session = boto3_session if boto3_session is not None else default_session()
    try:
        client = clients_of(session, endpoint_url).sync(session)
        _made(client, table_name, keys)
        if ttl_key_name is not None:
            _expiring(client, table_name, checked_name(ttl_key_name, "ttl_key_name"))
    except (*ERRORS, WaiterError) as error:
        _fail("create", table_name, error)


def remove_orphans(
    table_name: str,
    *,
    primary_key_name: str = "SessionId",
    sort_key_name: str | None = None,
    ttl_key_name: str = "expireAt",
    history_messages_key: str = "History",
    older_than: float = _DAY,
    endpoint_url: str | None = None,
    boto3_session: Session | None = None,
) -> int:
    """Delete the chunks that no session names, which writers leave that die, and return how many there were.

    They are harmless, and few: a writer has to die between writing a large batch, or a segment, and naming it, or
    between clearing a session and deleting its chunks. This reads the whole table (a Scan), so once a month is often
    enough. Histories may be in use meanwhile.

    Args:
        table_name: the table.
        primary_key_name: its partition key.
        sort_key_name: its sort key, if it has one.
        ttl_key_name: as the histories have it.
        history_messages_key: as the histories have it.
        older_than: seconds that a chunk must be old; an add that is under way has chunks that are not named yet.
        endpoint_url: where DynamoDB is, if not where AWS has it.
        boto3_session: where region and credentials come from; boto3's default session if None.

    Raises:
        StoreError: if the table could not be read or written; what has been deleted until then stays deleted.
    """
    names = [checked_name(name, "a key's name") for name in (primary_key_name, sort_key_name) if name is not None]
    checked_table(table_name)
    session = boto3_session if boto3_session is not None else default_session()

    def place_of(key: Item) -> Place:
        return checked_place(Place(table_name, key, history_messages_key, ttl_key_name))

    removed = 0
    try:
        client = clients_of(session, endpoint_url).sync(session)
        for head_key, chunks in _chunks_by_head(client, place_of, names, time.time() - older_than):
            removed += drive(_unnamed_removed(place_of(head_key), chunks), lambda: client)
    except (*ERRORS, *OWN_ERRORS, DamagedMessageError) as error:
        _fail("remove orphans from", table_name, error)
    return removed


def _made(client: Any, table_name: str, keys: dict[str, str]) -> None:
    try:
        client.create_table(
            TableName=table_name,
            KeySchema=[{"AttributeName": name, "KeyType": kind} for name, kind in keys.items()],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in keys],
            BillingMode="PAY_PER_REQUEST",
        )
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceInUseException":
            raise
    client.get_waiter("table_exists").wait(TableName=table_name, WaiterConfig=_ACTIVE)
    description = client.describe_table(TableName=table_name)["Table"]
    found = {key["AttributeName"]: key["KeyType"] for key in description["KeySchema"]}
    if found != keys:
        raise StoreError(f"table {table_name!r} is there already, with the key {found} and not {keys}")


def _expiring(client: Any, table_name: str, ttl_key_name: str) -> None:
    status = client.describe_time_to_live(TableName=table_name)["TimeToLiveDescription"]
    if status.get("TimeToLiveStatus") in ("ENABLED", "ENABLING"):
        if status.get("AttributeName") != ttl_key_name:
            raise StoreError(
                f"table {table_name!r} has its time to live on {status.get('AttributeName')!r}; "
                "pass that as ttl_key_name"
            )
        return
    client.update_time_to_live(
        TableName=table_name, TimeToLiveSpecification={"Enabled": True, "AttributeName": ttl_key_name}
    )


def _chunks_by_head(
    client: Any, place_of: Callable[[Item], Place], names: list[str], before: float
) -> Iterator[tuple[Item, list[str]]]:
    """The chunks of a table that were written before a time, by the key of the head that they were written for."""
    attributes = place_of({name: {"S": "x"} for name in names}).names
    pages = client.get_paginator("scan").paginate(
        TableName=place_of({names[0]: {"S": "x"}}).table,
        ConsistentRead=True,
        FilterExpression="begins_with(#chunk, :chunk) AND #written < :before",
        ProjectionExpression="#chunk, #head",
        ExpressionAttributeNames={
            "#chunk": names[-1],
            "#head": attributes["#head"],
            "#written": attributes["#written"],
        },
        ExpressionAttributeValues={":chunk": {"S": CHUNK}, ":before": {"N": str(int(before))}},
    )
    heads: dict[str, tuple[Item, list[str]]] = {}
    for page in pages:
        for item in page["Items"]:
            key = item[attributes["#head"]]["M"]
            _, chunks = heads.setdefault(json.dumps(key, sort_keys=True, default=str), (key, []))
            chunks.append(id_of_chunk(item[names[-1]]["S"]))
    yield from heads.values()


def _unnamed_removed(place: Place, chunks: list[str]) -> Steps[int]:
    """Delete those of these chunks that their head does not name, and say how many."""
    patience = Patience()
    item = yield from read_item(place, patience)
    named = set()
    if item is not None:
        head = Head.of(item, place)
        named = set((yield from chunks_named_by(Settings(place, None, None, time.time), patience, head, strictly=True)))
    orphans = [chunk for chunk in chunks if chunk not in named]
    yield from delete_chunks(place, patience, orphans)
    return len(orphans)


def _fail(verb: str, table_name: str, error: Exception) -> NoReturn:
    raise StoreError(f"could not {verb} table {table_name!r}: {without_secrets(cause_of(error), ())}") from None
