"""The conformance room: checks whether a chat message history keeps every clause it claims.

Names are imported when they are first used, so that pytest, which loads our plugin at every start, does not
pay for langchain-core and hypothesis, and so that a missing extra is one line and not a traceback.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from chathistory.conformance._backend import Backend, Deviation, Limits, Wire
    from chathistory.conformance._errors import BackendError, UsageError
    from chathistory.conformance._pytest import ChatHistoryConformance
    from chathistory.conformance._report import ClauseResult, Configuration, Counterexample, Report
    from chathistory.conformance._runner import check

__all__ = [
    "Backend",
    "BackendError",
    "ChatHistoryConformance",
    "ClauseResult",
    "Configuration",
    "Counterexample",
    "Deviation",
    "Limits",
    "Report",
    "UsageError",
    "Wire",
    "check",
]

if not TYPE_CHECKING:  # a type checker that saw __getattr__ would let misspelt names pass
    _HOME_OF = {
        "Backend": "_backend",
        "BackendError": "_errors",
        "ChatHistoryConformance": "_pytest",
        "ClauseResult": "_report",
        "Configuration": "_report",
        "Counterexample": "_report",
        "Deviation": "_backend",
        "Limits": "_backend",
        "Report": "_report",
        "UsageError": "_errors",
        "Wire": "_backend",
        "check": "_runner",
    }

    _EXTRA = {"click", "hypothesis", "jinja2", "packaging", "pytest", "rich", "tomli"}

    def __getattr__(name):
        """Import a public name from the module that holds it, once."""
        if name not in _HOME_OF:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        try:
            value = getattr(import_module(f"{__name__}.{_HOME_OF[name]}"), name)
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing not in _EXTRA:
                raise
            message = f'{name} needs {missing}: pip install "chathistory[suite]"'
            raise ModuleNotFoundError(message, name=error.name) from error
        globals()[name] = value
        return value

    def __dir__():
        """The public names, imported or not."""
        return sorted(__all__)
