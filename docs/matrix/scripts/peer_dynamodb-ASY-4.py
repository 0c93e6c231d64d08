"""ASY-4: A cancelled async call took effect wholly or not at all, and the handle, and everybody
else's, stays usable (also when it was adding a batch of two and more, or waiting for a lock).

peer:dynamodb: None of the 3 histories that are possible here was read. 3 messages were
expected, 6 read; missing: AIMessage("m101"), HumanMessage("m102"); not expected:
AIMessage("m11"), HumanMessage("m12"), AIMessage("m13") and 2 more.

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

import asyncio
import contextlib
import importlib.util
import inspect
import operator
import sys
import uuid
import warnings

from langchain_core.messages import AIMessage, HumanMessage

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.dynamodb:dynamodb"


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


async def cancelled(call, turns):
    """Begin an async call, let the event loop turn so many times, cancel it, and wait for its end."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")


# Session ids of their own in every run.
run = "t" + uuid.uuid4().hex[:19]

with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    loop = asyncio.new_event_loop()
    h1 = get_session_history(f"{run}-a")

    loop.run_until_complete(h1.aadd_messages([AIMessage("m1")]))
    loop.run_until_complete(
        cancelled(
            h1.aadd_messages(
                [(HumanMessage if i % 2 == 0 else AIMessage)(f"m{i}") for i in range(11, 16)],
            ),
            turns=1,
        ),
    )
    read_of_h1 = loop.run_until_complete(h1.aget_messages())
    loop.run_until_complete(h1.aadd_messages([AIMessage("m101"), HumanMessage("m102")]))
    h2 = get_session_history(f"{run}-a")

    # Step 7, at which the violation showed.
    try:
        observed = [message.content for message in loop.run_until_complete(h2.aget_messages())]
    except Exception as error:
        observed = error
    loop.close()

expected = [
    ["m1", *[f"m{i}" for i in range(11, 16)], "m101", "m102"],
    ["m1", "m101", "m102", *[f"m{i}" for i in range(11, 16)]],
    ["m1", "m101", "m102"],
]
if observed in expected:
    print("FIXED: ASY-4 at step 7")
else:
    print("STILL FAILING: ASY-4 at step 7")
    print("  expected:", "one of", short(expected))
    print("  observed:", short(observed))
    sys.exit(1)
