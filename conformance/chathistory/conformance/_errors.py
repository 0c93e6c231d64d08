"""Faults of the set-up, told apart from violations: each is one line and exit code 2."""

from __future__ import annotations

from chathistory.reference import ChatHistoryError


class UsageError(ChatHistoryError):
    """An argument, target, claim, clause or path that can't be used; the message says what to do instead."""


class BackendError(ChatHistoryError):
    """The backend could not be opened, or did not pass the smoke gate."""
