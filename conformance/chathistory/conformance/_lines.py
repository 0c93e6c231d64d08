"""Shows steps of programs as Python: as statements of a script, and as one line each for people."""

from __future__ import annotations

from chathistory.conformance._layout import WIDTH, Tree, called, flat, prefixed
from chathistory.conformance._literals import template_source
from chathistory.conformance._program import (
    Add,
    AddBack,
    Assign,
    Cancel,
    Clear,
    Edit,
    Forget,
    NewLoop,
    Open,
    Read,
    Step,
    Together,
    Trial,
    Turn,
    Wait,
    step_fields,
)
from chathistory.conformance._source import Limits, Renderer
from chathistory.conformance._trials import TRIALS


def describe(step: Step) -> str:
    """One line for people, at most 100 characters, in which long values are cut and their lengths named."""
    line = ""
    for limits in (Limits(200, 40), Limits(40, 8), Limits(24, 4), Limits(16, 2), Limits(12, 1)):
        line = _line(step, Renderer(limits, templates=True))
        if len(line) <= WIDTH:
            return line
    return f"{line[: WIDTH - 1]}…"


def call_of(step: Step, renderer: Renderer, argument: str | None = None) -> Tree:
    """The expression or assignment that carries out a step, without `await`.

    Args:
        step: any step but Forget, Edit, Wait, NewLoop, Turn, Together and Trial.
        renderer: how values are shown.
        argument: the name of the list that is added or assigned, if it has one.
    """
    if isinstance(step, Open):
        return _opening(step, renderer)
    assert not isinstance(step, Forget | Edit | Wait | NewLoop | Turn | Together | Trial)  # noqa: S101 -- callers show these themselves
    history, a = f"h{step.handle}", "a" if getattr(step, "mode", "sync") == "async" else ""
    match step:
        case Add():
            return _adding(step, renderer, argument)
        case Read():
            return f"{history}.aget_messages()" if a else f"{history}.messages"
        case Clear():
            return f"{history}.{a}clear()"
        case Assign():
            return prefixed(f"{history}.messages = ", _contained(step, renderer, argument))
        case AddBack():
            return called(
                f"{history}.{a}add_messages",
                f"await {history}.aget_messages()" if a else f"{history}.messages",
            )
        case Cancel():
            if not step.messages:
                return f"{history}.{'aget_messages' if step.reads else 'aclear'}()"
            return called(f"{history}.aadd_messages", renderer.tree(list(step.messages)))


def beside_of(step: Cancel, renderer: Renderer) -> list[Tree]:
    """The argument for the add that runs beside a cancelled call, if there is one."""
    if not step.beside:
        return []
    return [prefixed("beside=", called(f"h{step.handle}.aadd_messages", renderer.tree(list(step.beside))))]


def edit_source(step: Edit, name: str) -> str:
    """The statement that makes an edit to a list that has this name and is not empty."""
    first = f"{name}[0]"
    return {
        "append": f'{name}.append(HumanMessage("edited"))',
        "content": f'{first}.content = "edited"',
        "field": f'{first}.name = "edited"',
        "nested": f'{first}.additional_kwargs["outer"]["inner"] = "edited"',
        "deep": f"edit_deep({first})",
    }.get(step.edit, f"{name}.{step.edit}()")


def name_of_edited(step: Edit) -> str:
    """The name of the list that an edit changes, in scripts and descriptions."""
    return f"{'added_by' if step.target == 'argument' else 'read_of'}_h{step.handle}"


def _opening(step: Open, renderer: Renderer) -> Tree:
    session = renderer.text(step.session, template_source)
    history = f"h{step.handle} = "
    if step.partition is not None:
        return called(f"{history}backend.in_partition", renderer.text(step.partition, template_source), session)
    if step.history_size is not None:
        return called(f"{history}backend.with_history_size", session, renderer.tree(step.history_size))
    if step.ttl is not None:
        return called(f"{history}backend.with_ttl", session, renderer.tree(step.ttl))
    return called(f"{history}get_session_history", session)


def _adding(step: Add, renderer: Renderer, argument: str | None) -> Tree:
    history = f"h{step.handle}"
    if step.call != "add_messages":
        item = step.messages[0]
        if argument is not None:
            return called(f"{history}.{step.call}", f"{argument}[0]{'.content' if step.text else ''}")
        return called(f"{history}.{step.call}", renderer.tree(item.content if step.text else item))
    method = f"{history}.{'a' if step.mode == 'async' else ''}add_messages"
    return called(method, _contained(step, renderer, argument))


def _contained(step: Add | Assign, renderer: Renderer, argument: str | None) -> Tree:
    """What `add_messages` or `messages` is handed, in its container."""
    if step.container == "bare":
        return f"{argument}[0]" if argument else renderer.tree(step.messages[0])
    if step.container == "tuple" and not argument:
        return renderer.tree(step.messages)
    items: Tree = argument or renderer.tree(list(step.messages))
    if step.container == "list":
        return items
    if step.container == "deque":
        renderer.names.add("deque")
    makers = {"tuple": "tuple", "deque": "deque", "generator": "iter", "failing generator": "failing"}
    if step.container == "broken generator":
        return called("failing", items, "OSError")
    return called(makers[step.container], items)


def turn_call(step: Turn, renderer: Renderer, *factory: str) -> Tree:
    """The call of `take_turn`, fields that have their defaults left out."""
    arguments: list[Tree] = [*factory]
    for name, value in step_fields(step).items():
        is_template = name in ("session", "user")
        source = renderer.text(value, template_source) if is_template else renderer.tree(value)
        arguments.append(prefixed(f"{name}=", source))
    return called("take_turn", *arguments)


def together_call(step: Together, renderer: Renderer) -> Tree:
    """The call of `run_together`, on a session that is filled in anew each time."""
    session = renderer.text(step.session, template_source)
    opening = called("get_session_history", session)
    if step.partition is not None:
        opening = called("backend.in_partition", renderer.text(step.partition, template_source), session)
    options = [
        f"tasks={step.how == 'tasks'}",
        f"shared={step.shared}",
        *(["opens=True"] if step.opens else []),
        *([f'mode="{step.mode}"'] if step.mode != "sync" else []),
        *([f"elsewhere=(factory_elsewhere(backend, TARGET), {flat(session)})"] if step.how == "processes" else []),
    ]
    workers = renderer.tree(list(step.workers))
    return called("run_together", prefixed("lambda: ", opening), workers, *options)


def trial_call(step: Trial, *more: str, persistence: int = 1) -> Tree:
    """The call of a trial's function, with more arguments, and so many times as many rounds."""
    function, rounds = TRIALS[step.name].function, step.rounds * persistence
    return called(function, "backend", f'mode="{step.mode}"', f"seed={step.seed}", f"rounds={rounds}", *more)


def _together_line(step: Together, renderer: Renderer) -> str:
    """The workers by what they do, for people."""
    arguments: list[Tree] = []
    for name, value in step_fields(step).items():
        if name in ("session", "partition"):
            arguments.append(prefixed(f"{name}=", renderer.text(value, template_source)))
        elif name != "attempts":
            arguments.append(prefixed(f"{name}=", renderer.tree(list(value) if name == "workers" else value)))
    return flat(called("together", *arguments))


def _line(step: Step, renderer: Renderer) -> str:
    match step:
        case Wait():
            return f"# wait {step.seconds:g} s"
        case Forget():
            return f"del h{step.handle}  # and collect garbage"
        case NewLoop():
            return "# a new event loop"
        case Edit():
            return edit_source(step, name_of_edited(step))
        case Turn():
            return flat(turn_call(step, renderer))
        case Together():
            return _together_line(step, renderer)
        case Trial():
            return flat(trial_call(step))
        case Cancel():
            turns = f"after={step.turns} turn{'' if step.turns == 1 else 's'}"
            seconds = [f"seconds={step.seconds!r}"] if step.seconds else []
            return flat(called("cancel", call_of(step, renderer), turns, *seconds, *beside_of(step, renderer)))
    call = flat(call_of(step, renderer))
    return f"await {call}" if getattr(step, "mode", "sync") == "async" and not _has_no_async(step) else call


def _has_no_async(step: Step) -> bool:
    return isinstance(step, Add) and step.call != "add_messages"
