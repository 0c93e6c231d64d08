"""ATM-1: If an add or an assignment to messages raises, the history is as it was: none of the
batch is stored and nothing older is lost.

peer:in-memory: 0 messages were expected, 1 read; not expected: AIMessage("m1").

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

import contextlib
import importlib.util
import inspect
import operator
import sys
import uuid
import warnings

from langchain_core.messages import AIMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.backends:in_memory"


@contextlib.contextmanager
def opened(target):
    """Open what `module:attribute` or `file.py:attribute` names, and close it at the end."""
    sys.path.insert(0, "")
    warnings.simplefilter("ignore")
    place, _, attribute = target.rpartition(":")
    if place.endswith(".py"):
        spec = importlib.util.spec_from_file_location("target", place)
        sys.modules["target"] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    else:
        module = importlib.import_module(place)
    warnings.simplefilter("ignore")  # some imports turn warnings on again
    found = operator.attrgetter(attribute)(module)
    if inspect.isgeneratorfunction(inspect.unwrap(found)):
        backends = inspect.unwrap(found)()
        try:
            yield next(backends)
        finally:
            next(backends, None)
    elif inspect.isfunction(found) and not inspect.signature(found).parameters:
        yield found()
    else:
        yield found


def failing(messages, kind=ValueError):
    """An iterable that fails at its end."""
    yield from messages
    raise kind("the caller's iterable failed")


def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")


# Session ids of their own in every run.
run = "t" + uuid.uuid4().hex[:19]

with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    h1 = get_session_history(f"{run}-a")

    try:
        h1.add_messages(failing([AIMessage("m1")]))
    except Exception:
        pass  # a refusal is allowed here

    # Step 3, at which the violation showed.
    try:
        observed = [message.content for message in h1.messages]
    except Exception as error:
        observed = error

expected = []
if observed == expected:
    print("FIXED: ATM-1 at step 3")
else:
    print("STILL FAILING: ATM-1 at step 3")
    print("  expected:", short(expected))
    print("  observed:", short(observed))
    sys.exit(1)
