"""Histories to test the suite with: `MUTANTS`, each with a planted defect, and `ODD`, unusual and correct."""

from tests.mutants._catalogue import MUTANTS, ODD
from tests.mutants._planted import Hardness, Mutant, Odd

__all__ = ["MUTANTS", "ODD", "Hardness", "Mutant", "Odd"]
