"""ERR-4: Errors SHOULD name the session and the cause, and carry no credentials.

peer:sql-sqlite: The error does not name the session.

Run it:  python THIS_FILE.py [TARGET]

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""

import contextlib
import importlib.util
import inspect
import operator
import re
import sys
import uuid
import warnings

TARGET = sys.argv[1] if len(sys.argv) > 1 else "chathistory.adapters.peers.backends:sql_sqlite"


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


CREDENTIALS = re.compile(r"://[^\s/@]*:[^\s/@]+@")


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

    # Step 2, at which the violation showed.
    session_id = f"{run}-a"
    text = session_id  # unless it raises, no error leaves the name out
    try:
        h1.add_messages([None])
    except Exception as error:
        text = f"{error} {error!r} " + str(getattr(error, "__notes__", ""))
    secrets = [secret for secret in getattr(backend, "secrets", ()) if secret in text]

if session_id in text and not secrets and not CREDENTIALS.search(text):
    print("FIXED: ERR-4 at step 2")
else:
    print("STILL FAILING: ERR-4 at step 2")
    print("  expected:", "an error that names the session and carries no credentials")
    print("  observed:", "an error without the session id, or with credentials")
    sys.exit(1)
