"""Every error that chathistory raises on purpose, so that callers can catch one class.

::

    ChatHistoryError
    ├── NotAMessageError       (TypeError)   an argument that is no message; nothing was stored
    ├── UnstorableValueError   (ValueError)  a value that can't be kept exactly; nothing was stored
    ├── DamagedMessageError    (ValueError)  a stored entry that is no message any more
    ├── StoreError                           the store did not carry out the operation
    └── UnknownClauseError     (LookupError) a clause or family name that does not exist

Messages name the session and the cause, and never carry credentials or whole contents (clause ERR-4).
"""

from __future__ import annotations


class ChatHistoryError(Exception):
    """The base of every error raised by chathistory."""


class NotAMessageError(ChatHistoryError, TypeError):
    """What was to be added is not a message of langchain-core; nothing was stored (clause ERR-1)."""


class UnstorableValueError(ChatHistoryError, ValueError):
    """A message holds a value that can't be stored exactly; nothing was stored (clause VAL-6)."""


class DamagedMessageError(ChatHistoryError, ValueError):
    """A stored entry can't be turned into a message again; the entry is left as it is."""


class StoreError(ChatHistoryError):
    """The store did not carry out the operation (clause ERR-2)."""


class UnknownClauseError(ChatHistoryError, LookupError):
    """A name that is neither a clause nor a family of clauses."""

    def __str__(self) -> str:
        """The message as it was given (LookupError's subclasses would quote it)."""
        return str(self.args[0]) if self.args else ""
