"""VAL-8: The key order of objects inside messages SHOULD survive.

peer:postgres: [0].additional_kwargs['value'] has its keys in the order ["a", "bb"], not ["bb",
"a"].

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

from langchain_core.messages import BaseMessage, HumanMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.postgres:postgres"


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


def fields(message):
    """All fields of a message by name."""
    return {**message.__dict__, **(message.__pydantic_extra__ or {})}


def same(a, b):
    """Whether two values are equal type for type, with the keys of dicts in the same order."""
    if type(a) is not type(b):
        return False
    if isinstance(a, BaseMessage):
        return same(sorted(fields(a).items()), sorted(fields(b).items()))
    if isinstance(a, dict):
        return same(list(a.items()), list(b.items()))
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b) if isinstance(a, float) else a == b


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

    h1.add_messages([HumanMessage("m1", additional_kwargs={"value": {"bb": 0, "a": 0}})])

    # Step 3, at which the violation showed.
    try:
        observed = list(h1.messages)
    except Exception as error:
        observed = error

expected = [HumanMessage("m1", additional_kwargs={"value": {"bb": 0, "a": 0}})]
if same(observed, expected):
    print("FIXED: VAL-8 at step 3")
else:
    print("STILL FAILING: VAL-8 at step 3")
    print("  expected:", short(expected))
    print("  observed:", short(observed))
    sys.exit(1)
