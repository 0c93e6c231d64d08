"""What the correct histories agree to keep; it ships with them."""

from chathistory.conformance.selfproof._values import (
    JSON_KINDS,
    MESSAGE_CLASSES,
    PYTHON_KINDS,
    build,
    from_json,
    is_batch,
    to_json,
    with_values,
)

__all__ = [
    "JSON_KINDS",
    "MESSAGE_CLASSES",
    "PYTHON_KINDS",
    "build",
    "from_json",
    "is_batch",
    "to_json",
    "with_values",
]
