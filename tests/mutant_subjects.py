"""Every mutant under its name, and the correct histories they were made from, as targets of scripts.

`tests.mutant_subjects:reverses_batches` is a fresh backend with that defect.
"""

from __future__ import annotations

from tests.mutants import MUTANTS
from tests.mutants._network import NetworkHistory, network_backend

from chathistory.conformance import Backend
from chathistory.conformance.backends import reference as reference  # a target, too

_MAKERS = {mutant.name: mutant.make for mutant in MUTANTS}


def over_a_network() -> Backend:
    """A correct history over a network, which offers what the reference does not: a wire, a server, processes."""
    return network_backend("over_a_network", NetworkHistory)


def __getattr__(name: str) -> Backend:
    if name not in _MAKERS:
        raise AttributeError(name)
    return _MAKERS[name]()
