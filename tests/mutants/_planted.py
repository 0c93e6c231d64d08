"""What the catalogue holds; the same as what ships with the suite."""

from chathistory.conformance.selfproof._planted import Hardness, Mutant, Odd, mutant, network_mutant, odd, server_mutant

__all__ = ["Hardness", "Mutant", "Odd", "mutant", "network_mutant", "odd", "server_mutant"]
