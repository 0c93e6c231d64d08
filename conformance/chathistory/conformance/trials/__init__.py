"""Trials: what no row of calls can show, such as what passes on the wire, and what is left after a crash.

Each module imports the standard library, langchain-core and its siblings, and nothing else of chathistory, so that the
script of a counterexample can hold it whole.
"""
