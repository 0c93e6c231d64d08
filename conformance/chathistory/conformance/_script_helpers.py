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
        backends = inspect.unwrap(found)()
        try:
            yield next(backends)
        finally:
            next(backends, None)
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

_SETTLED = '''\
def settled(why):
    """The end, where the violation can no longer show."""
    print(f"FIXED: {why}")
    sys.exit(0)'''

_CANCELLED = '''\
async def cancelled(call, turns, seconds=0):
    """Begin an async call, let the event loop turn so many times, cancel it, and wait for its end."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    if seconds:
        await asyncio.sleep(seconds)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
        await task'''

_CANCELLED_BESIDE = '''\
async def cancelled_beside(call, turns, beside):
    """Begin two async calls, let the event loop turn so many times, cancel one, and wait for both."""
    other = asyncio.ensure_future(beside)
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError, Exception):
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
def failing(messages, kind=ValueError):
    """An iterable that fails at its end."""
    yield from messages
    raise kind("the caller's iterable failed")'''

_GIVE_UP = '''\
def give_up():
    """What happens when the call does not come back."""
    print("STILL FAILING: no answer in time", flush=True)
    os._exit(1)'''

_PROBLEM = '''\
def problem(events):
    """What is wrong with what the workers did, or None."""
    if any(event.kind == "hung" for event in events):
        return "some of the calls did not return"
ASPECT    return None'''

_LOST = """\
    final = events[-1].observed
    clears = [event for event in events if event.kind == "clear"]
    for event in events:
        if event.kind != "add" or event.error or any(clear.ended > event.began for clear in clears):
            continue
        for message in event.added:
            if message not in final:
                return f"{message!r} was acknowledged and is not read at the end: {final}"
"""

_ORDER = """\
    for read in {event.observed for event in events if event.observed}:
        shown = set(read)
        for worker in {event.worker for event in events}:
            added = dict.fromkeys(m for event in events if event.worker == worker for m in event.added)
            seen = [m for m in dict.fromkeys(read) if m in added]
            if seen != [m for m in added if m in shown]:
                return f"messages that one worker added in order were read as {seen}"
"""

_WORKS = """\
    for event in events:
        if event.error and not event.may_raise:
            return f"{event.kind} raised {event.error!r}"
"""

_PREFIX = """\
    reads = [event for event in events if event.observed is not None]
    clears = [event for event in events if event.kind == "clear"]
    for a, b in ((a, b) for a in reads for b in reads if a.ended < b.began):
        cleared = any(clear.began < b.ended and clear.ended > a.began for clear in clears)
        if not cleared and b.observed[: len(a.observed)] != a.observed:
            return f"after {a.observed} there was read {b.observed}"
"""

_TORN = """\
    written = {message: event for event in events for message in event.added}
    for read in {event.observed for event in events if event.observed}:
        for place, message in enumerate(read):
            if message not in written:
                return f"{message!r} was read, and nobody had written it so"
            batch = written[message].added
            start = place - batch.index(message)
            if start < 0 or read[start : start + len(batch)] != batch:
                return f"of the batch {batch} there was read {read}"
"""

_LINEARIZABLE = """\
    reads = [event.observed for event in events if event.observed is not None]
    different = {read for read in reads if read}
    looks = [(set(read), set(zip(read, read[1:]))) for read in different]
    holding = {}
    for read in different:
        for message in read:
            holding.setdefault(message, []).append(read)
    calls = {}
    for event in sorted(events, key=lambda event: event.began):
        raised = event.error and event.ended
        parts = [()] if event.observed is not None or event.kind == "clear" and not raised else []
        # An add that raised has not stored all.
        for before, message in zip((None, *event.added), event.added[:-1] if raised else event.added):
            # What stands together wherever it is read may be taken for one.
            if parts and all((before, message) in pairs or not {before, message} & read for read, pairs in looks):
                parts[-1] += (message,)
            else:
                parts.append((message,))
        # A cancelled call may take effect after its worker has gone on.
        worker = event.worker if event.ended else event
        calls.setdefault(worker, []).extend((event, part, len(parts) - at) for at, part in enumerate(parts))
    queues = list(calls.values())
    unread = ("what no read shows",)
    waiting, seen = [((0,) * len(queues), ())], set()
    while waiting:
        state = places, messages = waiting.pop()
        left = {number: queue[place] for number, (queue, place) in enumerate(zip(queues, places)) if place < len(queue)}
        if not left:
            return None
        if state in seen:
            continue
        seen.add(state)
        steps, reached = [], set()
        ends = {number: event.ended or float("inf") for number, (event, *_) in left.items()}
        for number in sorted(left, key=ends.get):
            event, part, rest = left[number]
            if event.began > min(ends.values()):
                continue
            after = () if event.kind == "clear" else (*messages, *part)
            if any(message not in holding for message in part):
                after = unread
            fits = all(read[: len(after)] == after for message in part[-1:] for read in holding.get(message, ()))
            if event.kind == "read":
                fits = event.observed == messages
            optional = event.error or not event.ended
            if after in reached and rest == 1 and not optional:
                continue  # what does the same and ends earlier may as well come first
            found = [(1, after)] if fits else []
            if optional:
                found.append((rest, messages))
            elif fits and rest == 1:
                reached.add(after)
            found = [((*places[:number], places[number] + more, *places[number + 1 :]), then) for more, then in found]
            if fits and event.kind != "clear" and all(then == messages for _, then in found):
                # It changes nothing, so no order gains by having it later.
                steps = found
                break
            steps += found
        waiting += steps
    return f"no order of the calls explains what was read: {reads}"
"""

_SOURCE_OF_ASPECT = {
    "lost": _LOST,
    "order": _ORDER,
    "prefix": _PREFIX,
    "torn": _TORN,
    "linearizable": _LINEARIZABLE,
    "works": _WORKS + _LOST + _ORDER,
    "cancelled": _WORKS + _LINEARIZABLE,
    "errors": _WORKS,
}

_CREDENTIALS = r'CREDENTIALS = re.compile(r"://[^\s/@]*:[^\s/@]+@")'

_HELPERS = {
    "credentials": _CREDENTIALS,
    "fields": _FIELDS,
    "loose fields": _LOOSE_FIELDS,
    "same": _SAME,
    "same in order": _SAME_ORDERED,
    "settled": _SETTLED,
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
    "gc": ("gc",),
    "give_up": ("os", "threading"),
    "loop": ("asyncio",),
    "new_loop": ("asyncio",),
    "same": ("BaseMessage",),
    "same in order": ("BaseMessage",),
    "stall": ("asyncio", "time"),
    "tokens": ("uuid",),
    "wait": ("time",),
}


def problem_source(aspect: str | None) -> str:
    """The function that judges what workers did together; without an aspect, whether they came back."""
    source = _PROBLEM.replace("ASPECT", _SOURCE_OF_ASPECT.get(aspect or "", ""))
    return source.removesuffix("    return None").rstrip() if aspect in ("linearizable", "cancelled") else source


def helper_sources(needed: Collection[str], *, has_target: bool) -> list[str]:
    """The sources of the helpers of these names, and of those that every script holds."""
    opened = _OPENED if has_target else _OPENED.replace("    place,", f"{_NO_TARGET}    place,", 1)
    return [opened, *(source for name, source in _HELPERS.items() if name in needed), _SHORT]


def modules_of(needed: Collection[str]) -> set[str]:
    """The names that the helpers and statements of these names need imported."""
    return {*_ALWAYS, *(module for name in needed for module in _MODULES.get(name, ()))}
