"""Checker of concurrent event histories: was every session linearizable, and if not, what happened?

::

    history = EventHistory([Call(process=1, session="s", kind="add", invoked=0, returned=1, added=("a",)), …])
    verdict = check(history)             Linearizable, Violation or Undecided
    print(render_text(verdict))          a Violation in prose, with a timeline of the few calls involved

Pure functions on data; nothing here runs a backend. Adds of unique messages and whole reads make a chat
history a list to which elements are appended, which Elle (Kingsbury & Alvaro, VLDB 2020) shows how to judge
fast; for the rest there is the search of Wing & Gong (1993) as Lowe (2017) does it. Where to read on:

* `_events`, `_verdict`: the data that goes in and comes out;
* `_check`: which judge decides what; `_append`, `_epochs`, `_search`: the judges, with proofs;
* `_explain`: names the anomaly; `_single`, `_pairs`, `_resets`: the detectors; `_core`: the last resort;
* `_clauses`: single clauses of CON and ATM by themselves;
* `_timeline`: violations as text and SVG.
"""

from chathistory.conformance.linearizability._check import check
from chathistory.conformance.linearizability._clauses import (
    half_written_messages,
    lost_messages,
    prefix_violations,
    torn_batches,
    writer_order_violations,
)
from chathistory.conformance.linearizability._events import Call, CallKind, EventHistory, Prefix, PrefixPool
from chathistory.conformance.linearizability._timeline import render_svg, render_text
from chathistory.conformance.linearizability._verdict import (
    ANOMALIES,
    Anomaly,
    Budget,
    Linearizable,
    Undecided,
    Verdict,
    Violation,
    Weaken,
)

__all__ = [
    "ANOMALIES",
    "Anomaly",
    "Budget",
    "Call",
    "CallKind",
    "EventHistory",
    "Linearizable",
    "Prefix",
    "PrefixPool",
    "Undecided",
    "Verdict",
    "Violation",
    "Weaken",
    "check",
    "half_written_messages",
    "lost_messages",
    "prefix_violations",
    "render_svg",
    "render_text",
    "torn_batches",
    "writer_order_violations",
]
