"""Proof that the suite fails what it should: histories with a planted defect, and odd ones that are right.

`MUTANTS` holds at least one history for each clause, a few lines away from a correct one; `ODD` holds correct ones
that a careless suite would blame. The project's own tests hold hundreds more, made of the same parts.
"""

from chathistory.conformance.selfproof._catalogue import MUTANTS, ODD
from chathistory.conformance.selfproof._planted import Hardness, Mutant, Odd

__all__ = ["MUTANTS", "ODD", "Hardness", "Mutant", "Odd"]
