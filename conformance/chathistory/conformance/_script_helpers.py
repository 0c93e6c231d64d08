"""The helper functions that counterexample scripts hold, as source text."""

from __future__ import annotations

from collections.abc import Collection

_OPENED = '''\
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
        with contextlib.contextmanager(inspect.unwrap(found))() as backend:
            yield backend
    elif inspect.isfunction(found) and not inspect.signature(found).parameters:
        yield found()
    else:
        yield found'''

_NO_TARGET = """\
    if target is None:
        yield get_session_history
        return
"""

_SHORT = '''\
def short(value):
    """A value as text, cut when it is long."""
    text = ascii(value)
    count = f"{len(value)} in all: " if isinstance(value, list) else ""
    return count + (text if len(text) <= 1000 else f"{text[:1000]}... {len(text)} characters")'''

_SAME = '''\
def same(a, b):
    """Whether two values are equal type for type: 1, 1.0 and True differ, a list is not a tuple."""
    if type(a) is not type(b):
        return False
    if isinstance(a, BaseMessage):
        return same(fields(a), fields(b))
    if isinstance(a, dict):
        there = {(type(key), key): value for key, value in b.items()}
        return len(a) == len(b) and all(
            (type(key), key) in there and same(value, there[type(key), key])
            for key, value in a.items()
        )
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return repr(a) == repr(b) if isinstance(a, float) else a == b'''

_SAME_ORDERED = '''\
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
    return repr(a) == repr(b) if isinstance(a, float) else a == b'''

_LOOSE_FIELDS = '''\
def fields(message):
    """All fields of a message by name, but its content and type."""
    values = {**message.__dict__, **(message.__pydantic_extra__ or {})}
    return {name: values[name] for name in values if name not in ("content", "type")}'''

_FIELDS = '''\
def fields(message):
    """All fields of a message by name."""
    return {**message.__dict__, **(message.__pydantic_extra__ or {})}'''

_CANCELLED = '''\
async def cancelled(call, turns):
    """Begin an async call, let the event loop turn so many times, cancel it, and wait for its end."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task'''

_CANCELLED_BESIDE = '''\
async def cancelled_beside(call, turns, beside):
    """Begin two async calls, let the event loop turn so many times, cancel one, and wait for both."""
    other = asyncio.ensure_future(beside)
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    await other'''

_STALL = '''\
async def stall(call):
    """How long the event loop stood still without computing while a call ran, and how long that took."""
    marks = []

    async def turn():
        while True:
            marks.append((time.monotonic(), time.thread_time()))
            await asyncio.sleep(0.001)

    turning = asyncio.ensure_future(turn())
    await asyncio.sleep(0.003)
    began = time.monotonic()
    await call
    marks.append((time.monotonic(), time.thread_time()))
    turning.cancel()
    pairs = [(a, b) for a, b in zip(marks, marks[1:]) if b[0] > began]
    return max(b[0] - a[0] - (b[1] - a[1]) for a, b in pairs), marks[-1][0] - began'''

_EDIT_DEEP = '''\
def edit_deep(value):
    """Change every list and dict in a message or value, however deep."""
    if isinstance(value, BaseMessage):
        for item in [*vars(value).values(), *(value.__pydantic_extra__ or {}).values()]:
            edit_deep(item)
    elif isinstance(value, dict):
        for item in list(value.values()):
            edit_deep(item)
        value["edited"] = "edited"
    elif isinstance(value, list):
        for item in list(value):
            edit_deep(item)
        value.append("edited")'''

_NEW_LOOP = '''\
def new_loop(loop):
    """Close an event loop as asyncio.run does, and open another."""
    for task in asyncio.all_tasks(loop):
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            loop.run_until_complete(task)
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.close()
    return asyncio.new_event_loop()'''

_FAILING = '''\
def failing(messages):
    """An iterable that fails at its end."""
    yield from messages
    raise ValueError("the caller's iterable failed")'''

_GIVE_UP = '''\
def give_up():
    """What happens when the call does not come back."""
    print("STILL FAILING: no answer in time", flush=True)
    os._exit(1)'''

_CREDENTIALS = r'CREDENTIALS = re.compile(r"://[^\s/@]*:[^\s/@]+@")'

_HELPERS = {
    "credentials": _CREDENTIALS,
    "fields": _FIELDS,
    "loose fields": _LOOSE_FIELDS,
    "same": _SAME,
    "same in order": _SAME_ORDERED,
    "failing": _FAILING,
    "edit_deep": _EDIT_DEEP,
    "cancelled": _CANCELLED,
    "cancelled_beside": _CANCELLED_BESIDE,
    "stall": _STALL,
    "new_loop": _NEW_LOOP,
    "give_up": _GIVE_UP,
}
_ALWAYS = ("contextlib", "importlib.util", "inspect", "operator", "sys", "warnings")
_MODULES = {
    "cancelled": ("asyncio",),
    "cancelled_beside": ("asyncio",),
    "copy": ("copy",),
    "credentials": ("re",),
    "edit_deep": ("BaseMessage",),
    "give_up": ("os", "threading"),
    "loop": ("asyncio",),
    "new_loop": ("asyncio",),
    "same": ("BaseMessage",),
    "same in order": ("BaseMessage",),
    "stall": ("asyncio", "time"),
    "tokens": ("uuid",),
    "wait": ("time",),
}


def helper_sources(needed: Collection[str], *, has_target: bool) -> list[str]:
    """The sources of the helpers of these names, and of those that every script holds."""
    opened = _OPENED if has_target else _OPENED.replace("    place,", f"{_NO_TARGET}    place,", 1)
    return [opened, *(source for name, source in _HELPERS.items() if name in needed), _SHORT]


def modules_of(needed: Collection[str]) -> set[str]:
    """The names that the helpers and statements of these names need imported."""
    return {*_ALWAYS, *(module for name in needed for module in _MODULES.get(name, ()))}
