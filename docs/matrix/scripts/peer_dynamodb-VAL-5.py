"""VAL-5: Text survives exactly: any Unicode scalar, NUL, CRLF and trailing space, without
normalisation; lone surrogates are stored exactly or refused with an error and nothing stored.

peer:dynamodb: The call did not return.

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

import contextlib
import importlib.util
import inspect
import operator
import os
import sys
import threading
import uuid
import warnings

from langchain_core.messages import HumanMessage

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


def give_up():
    """What happens when the call does not come back."""
    print("STILL FAILING: no answer in time", flush=True)
    os._exit(1)


def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")


# Session ids of their own in every run.
run = "t" + uuid.uuid4().hex[:19]

watchdog = threading.Timer(61, give_up)
watchdog.daemon = True
watchdog.start()

with opened(TARGET) as backend:
    get_session_history = getattr(backend, "get_session_history", backend)
    h1 = get_session_history(f"{run}-a")

    h1.add_messages([HumanMessage(["", {"type": "text", "text": ""}])])
    h1.add_messages([HumanMessage([" ", {"type": "text", "text": " "}])])
    h1.add_messages([HumanMessage(["a  ", {"type": "text", "text": "a  "}])])
    h1.add_messages([HumanMessage(["  a", {"type": "text", "text": "  a"}])])
    h1.add_messages([HumanMessage(["\na", {"type": "text", "text": "\na"}])])
    h1.add_messages([HumanMessage(["a\n", {"type": "text", "text": "a\n"}])])
    h1.add_messages([HumanMessage(["a\r\nb\r\n", {"type": "text", "text": "a\r\nb\r\n"}])])
    h1.add_messages([HumanMessage(["a\rb", {"type": "text", "text": "a\rb"}])])
    h1.add_messages(
        [HumanMessage(["\x1b[31mred\x1b[0m", {"type": "text", "text": "\x1b[31mred\x1b[0m"}])],
    )
    h1.add_messages([HumanMessage(["\ufeffa", {"type": "text", "text": "\ufeffa"}])])
    h1.add_messages([HumanMessage(["é", {"type": "text", "text": "é"}])])
    h1.add_messages([HumanMessage(["e\u0301", {"type": "text", "text": "e\u0301"}])])
    h1.add_messages([HumanMessage(["\xe9e\u0301", {"type": "text", "text": "\xe9e\u0301"}])])
    h1.add_messages(
        [
            HumanMessage(
                [
                    "\ufb01 \uff11 \xbd \u212b",
                    {"type": "text", "text": "\ufb01 \uff11 \xbd \u212b"},
                ],
            ),
        ],
    )
    h1.add_messages([HumanMessage(["Ã©", {"type": "text", "text": "Ã©"}])])
    h1.add_messages([HumanMessage(["😀", {"type": "text", "text": "😀"}])])
    h1.add_messages(
        [
            HumanMessage(
                ["👨\u200d👩\u200d👧\u200d👦", {"type": "text", "text": "👨\u200d👩\u200d👧\u200d👦"}],
            ),
        ],
    )
    h1.add_messages([HumanMessage(["🇫🇷🇯🇵", {"type": "text", "text": "🇫🇷🇯🇵"}])])
    h1.add_messages([HumanMessage(["👍🏽 ❤️", {"type": "text", "text": "👍🏽 ❤️"}])])
    h1.add_messages([HumanMessage(["שלום مرحبا", {"type": "text", "text": "שלום مرحبا"}])])
    h1.add_messages(
        [
            HumanMessage(
                [
                    "a\u202eb\u202cc\u2066d\u2069",
                    {"type": "text", "text": "a\u202eb\u202cc\u2066d\u2069"},
                ],
            ),
        ],
    )
    h1.add_messages(
        [
            HumanMessage(
                [
                    "z\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334",
                    {
                        "type": "text",
                        "text": "z\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334\u0300\u0316\u0334",
                    },
                ],
            ),
        ],
    )
    h1.add_messages(
        [HumanMessage(["a\u200bb\u2060c\xadd", {"type": "text", "text": "a\u200bb\u2060c\xadd"}])],
    )
    h1.add_messages(
        [HumanMessage(["a\ufffe\uffff\ufdd0b", {"type": "text", "text": "a\ufffe\uffff\ufdd0b"}])],
    )
    h1.add_messages(
        [HumanMessage(["\ue000\U000f0000", {"type": "text", "text": "\ue000\U000f0000"}])],
    )
    h1.add_messages([HumanMessage(["�", {"type": "text", "text": "�"}])])
    h1.add_messages([HumanMessage(["\U0010ffff", {"type": "text", "text": "\U0010ffff"}])])

    # Step 29, at which the violation showed.
    try:
        h1.add_messages([HumanMessage(["a\ud83d", {"type": "text", "text": "a\ud83d"}])])
        observed = "it returned"
    except Exception as error:
        observed = error

if observed == "it returned":
    print("FIXED: VAL-5 at step 29")
else:
    print("STILL FAILING: VAL-5 at step 29")
    print("  expected:", "it returned")
    print("  observed:", short(observed))
    sys.exit(1)
