"""The correct histories that defects are planted in; they ship with the suite, and are explained there."""

from chathistory.conformance.selfproof._histories import (
    PASSWORD,
    PLAIN,
    CorrectHistory,
    JsonHistory,
    RecordHistory,
    Steps,
    Store,
    TableHistory,
    TableStore,
    backend,
)

__all__ = [
    "PASSWORD",
    "PLAIN",
    "CorrectHistory",
    "JsonHistory",
    "RecordHistory",
    "Steps",
    "Store",
    "TableHistory",
    "TableStore",
    "backend",
]
