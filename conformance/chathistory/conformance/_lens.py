"""What a check looks at when a program is judged, and what it leaves to others."""

from __future__ import annotations

from dataclasses import dataclass

from chathistory.conformance._concurrent import Aspect
from chathistory.conformance._program import Mode
from chathistory.conformance._views import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """What a check looks at, and what it leaves to others.

    Attributes:
        view: how messages read are compared with those expected.
        foreign_only: judge a first read only by whether it shows messages of other sessions (ISO).
        stable: until its next write a session must be read as it was read before, field for field (ISO, CLR-4).
        refusal: what is no message must be refused, with TypeError or ValueError (ERR-1).
        arguments: an add must leave its argument as it was (SNP-4).
        results: lists read earlier must not change in the caller's hands, and be lists (SNP-1).
        recovery: whether an error after a refusal is judged, or left to ERR-3.
        loop_errors: whether a clear refusal of a later event loop is allowed (ASY-6).
        error_text: errors must name the session, and carry no credentials (ERR-4).
        after_refusal_only: reads are judged once something has been refused (ATM-1).
        aspect: what of the work of several workers is judged.
        limits: what the backend declares as its limits says what must be stored, and how the rest is refused.
        disclaimed: the mode whose calls may raise, whatever they are asked for; then nothing has changed (ERR-2).
    """

    view: View = "label"
    foreign_only: bool = False
    stable: bool = False
    refusal: bool = False
    arguments: bool = False
    results: bool = False
    recovery: bool = False
    loop_errors: bool = False
    error_text: bool = False
    after_refusal_only: bool = False
    aspect: Aspect = "linearizable"
    limits: bool = False
    disclaimed: Mode | None = None
