"""The part of a counterexample script that does the steps and compares at the last of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from chathistory.conformance._interpreter import SHORT_WAIT
from chathistory.conformance._layout import Block, Tree, called, prefixed, suffixed
from chathistory.conformance._lines import (
    beside_of,
    call_of,
    edit_source,
    name_of_edited,
    together_call,
    trial_call,
    turn_call,
)
from chathistory.conformance._literals import template_source
from chathistory.conformance._message_ids import templates_of
from chathistory.conformance._program import (
    FAILING,
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
)
from chathistory.conformance._script_facts import (
    is_edited_later,
    may_be_refused,
    seconds_to_return,
    token_lines,
    tries_again,
    visit,
)
from chathistory.conformance._script_helpers import helper_sources, modules_of, problem_source
from chathistory.conformance._script_verdict import (
    RETURNED,
    Compound,
    Expectation,
    Statement,
    comparison,
    rendered,
    rendered_verdict,
    trying,
)
from chathistory.conformance._source import Renderer
from chathistory.conformance._trials import TRIALS


class Body:
    """Writes the steps, the comparison at the last of them, and the helpers that these need."""

    def __init__(self, steps: Sequence[Step], expectation: Expectation) -> None:
        self._steps = steps
        self._last = len(steps) - 1
        self._expectation = expectation
        self._visit = visit(steps, expectation)
        self._renderer = Renderer(templates=True)
        self.needed: set[str] = set()
        self._arguments: set[int] = set()
        self._reads: dict[int, str] = {}
        self._there: set[int] = set()
        self._kept: list[int] = []
        self._doubtful = {
            step.handle
            for index, step in enumerate(steps[:-1])
            if isinstance(step, Open) and index in expectation.may_raise
        }

    @property
    def names(self) -> set[str]:
        """What must be imported or defined."""
        return modules_of(self.needed) | self._renderer.names

    def helpers(self, *, has_target: bool) -> list[str]:
        """The sources of the helpers used."""
        sources = helper_sources(self.needed, has_target=has_target)
        judged = self._expectation.answer if self._expectation.kind == "together" else None
        return [*sources, problem_source(judged)] if "problem" in self.needed else sources

    def tokens(self) -> str:
        """What makes the ids of sessions, and of messages, unlike those of any other run."""
        lines = token_lines(self._steps[:-1] if tries_again(self._steps) else self._steps)
        ids = "Session ids and message ids" if any(map(templates_of, self._steps)) else "Session ids"
        return "\n".join([f"# {ids} of their own in every run.", *lines]) if lines else ""

    def verdict(self, clause_id: str) -> str:
        """The comparison, and what is printed."""
        renderer = Renderer(shares=False, templates=True)
        expectation = self._expectation
        if self._visit is not None:
            own = len(self._visit.added)
            later = tuple(values[len(values) - own :] for values in expectation.values)
            expectation = replace(expectation, values=later)
        compared = comparison(expectation, self._steps[-1], self._kept, renderer, self._visit is not None)
        self.needed.update(compared.needs)
        self._renderer.names |= renderer.names
        return rendered_verdict(compared, f"{clause_id} at step {self._last + 1}")

    def _watchdog(self) -> str:
        """A time limit, where not coming back is the violation."""
        if self._expectation.kind != "returns":
            return ""
        self.needed.add("give_up")
        timer = f"watchdog = threading.Timer({seconds_to_return(self._steps):.0f}, give_up)"
        return f"{timer}\nwatchdog.daemon = True\nwatchdog.start()\n\n"

    def block(self) -> str:
        """The block in which the backend is open."""
        statements = self._before_the_last()
        if statements and statements[-1] != "":
            statements.append("")
        statements += [f"# Step {self._last + 1}, at which the violation showed.", *self._observation()]
        if self.needed & {"loop", "new_loop"}:
            statements = ["loop = asyncio.new_event_loop()", *statements, "loop.close()"]
            self.needed.add("loop")
        if token_lines(self._steps):
            self.needed.add("tokens")
        if "wait" in self.needed:
            statements.insert(0, 'wait = getattr(backend, "advance", None) or time.sleep')
        statements.insert(0, 'get_session_history = getattr(backend, "get_session_history", backend)')
        block = rendered([Compound("with opened(TARGET) as backend:", tuple(statements))], 0)
        return f"{self._watchdog()}{block}"

    # Steps before the last

    def _before_the_last(self) -> list[Statement]:
        """The steps before the last; those that may be refused in a row, in one `try`."""
        statements: list[Statement] = []
        for refusable, steps in groupby(range(self._last), self._may_be_refused_now):
            written: list[Statement] = []
            for index in steps:
                written += self._earlier(index, self._steps[index])
                if isinstance(self._steps[index], Open) and not isinstance(self._steps[index + 1], Open):
                    written.append("")
            statements += self._unless_refused(written) if refusable else written
        return statements

    def _may_be_refused_now(self, index: int) -> bool:
        """Whether a step that was accepted could also be refused."""
        return index not in self._expectation.may_raise and may_be_refused(self._steps, self._steps[index])

    def _unless_refused(self, statements: list[Statement]) -> list[Statement]:
        self.needed.add("settled")
        if statements[-1] == "":
            return [*trying(statements[:-1], 'settled("this is refused now, as it may be")'), ""]
        return trying(statements, 'settled("this is refused now, as it may be")')

    def _earlier(self, index: int, step: Step) -> list[Statement]:
        before, statements = self._prepared(index, step), self._step(index, step)
        last = self._steps[-1]
        if (
            self._visit is not None
            and self._visit.opened == index
            and isinstance(step, Open)
            and isinstance(last, Read)
        ):
            statements.append(self._viewed(self._call(replace(last, handle=step.handle)), "before"))
        if index in self._expectation.may_raise:
            statements = trying(statements, self._in_place_of(step))
            if isinstance(step, Add | Assign) and may_be_refused(self._steps, step):
                self.needed.add("settled")
                statements.append(Compound("else:", ('settled("this is no longer refused")',)))
        statements = [*before, *statements, *self._kept_copy(index, step)]
        if not isinstance(step, Open) and getattr(step, "handle", None) in self._doubtful:
            nothing = [f"{self._reads[step.handle]} = []"] if isinstance(step, Read) else []
            return [*nothing, Compound(f"if h{step.handle} is not None:", tuple(statements))]  # type: ignore[union-attr]
        return statements

    def _in_place_of(self, step: Step) -> str:
        """What stands for the result of a step that was refused."""
        if isinstance(step, Open):
            return f"h{step.handle} = None  # a refusal is allowed here"
        if isinstance(step, Read):
            return f"{self._reads[step.handle]} = []  # a refusal is allowed here"
        return "pass  # a refusal is allowed here"

    def _prepared(self, index: int, step: Step) -> list[Statement]:
        """The list that an add is given, by a name, where it is changed or looked at later; room for a new handle."""
        if isinstance(step, Open) and any(_opens(earlier, step.handle) for earlier in self._steps[:index]):
            return [f"del h{step.handle}"]  # first, so that the next may stand where it stood
        if not isinstance(step, Add | Assign):
            return []
        is_last = index == self._last and self._expectation.kind == "unchanged-argument"
        if not is_last and not is_edited_later(self._steps, index, step.handle):
            self._arguments.discard(step.handle)
            return []
        self._arguments.add(step.handle)
        return [prefixed(f"added_by_h{step.handle} = ", self._renderer.tree(list(step.messages)))]

    def _step(self, index: int, step: Step) -> list[Statement]:
        match step:
            case Wait():
                self.needed.add("wait")
                waits = [f"time.sleep({step.seconds!r})"] if step.seconds <= SHORT_WAIT else []
                return [*waits, f"wait({step.seconds!r})"]
            case NewLoop():
                self.needed.add("new_loop")
                return ["loop = new_loop(loop)"]
            case Edit():
                return self._edit(step)
            case Forget():
                return self._forgotten(step.handle)
            case Open() if step.handle in self._there:
                return [f"h{step.handle} = None  # it is gone before the next is opened", self._call(step)]
            case Open():
                self._there.add(step.handle)
            case Read():
                watched = self._expectation.kind == "unchanged-results"
                self._reads[step.handle] = f"read_{index + 1}" if watched else f"read_of_h{step.handle}"
                return [prefixed(f"{self._reads[step.handle]} = ", self._call(step))]
        return [self._call(step)]

    def _forgotten(self, handle: int) -> list[Statement]:
        """A handle, and what came of it, that nothing refers to any more."""
        self.needed.add("gc")
        self._there.discard(handle)
        names = [f"h{handle}"]
        if handle in self._arguments:
            names.append(f"added_by_h{handle}")
        if handle in self._reads and self._expectation.kind != "unchanged-results":
            names.append(self._reads[handle])
        return [f"{' = '.join(names)} = None", "gc.collect()"]

    def _kept_copy(self, index: int, step: Step) -> list[Statement]:
        """The copy that tells later whether a list that was read has changed."""
        if self._expectation.kind != "unchanged-results":
            return []
        if isinstance(step, Read):
            self.needed.add("copy")
            self._kept.append(index + 1)
            return [f"copy_{index + 1} = copy.deepcopy(read_{index + 1})"]
        if isinstance(step, Edit) and step.target == "result" and step.handle in self._reads:
            name = self._reads[step.handle]
            return [f"copy_{name.removeprefix('read_')} = copy.deepcopy({name})  # changed on purpose"]
        return []

    def _edit(self, step: Edit) -> list[Statement]:
        if step.target == "argument":
            name = name_of_edited(step) if step.handle in self._arguments else ""
        else:
            name = self._reads.get(step.handle, "")
        if not name:
            return [f"pass  # there is no {step.target} of h{step.handle} to change yet."]
        if step.edit == "append":
            self._renderer.names.add("HumanMessage")
            return [edit_source(step, name)]
        if step.edit == "deep":
            self.needed.add("edit_deep")
        condition = name
        if step.edit == "nested":
            outer = f'{name}[0].additional_kwargs.setdefault("outer", {{}})'
            condition = f"{name} and isinstance({outer}, dict)"
        return [Compound(f"if {condition}:", (edit_source(step, name),))]

    def _call(self, step: Step) -> Tree:
        """The call of any step that is one, run in the loop if it is async."""
        if isinstance(step, Turn):
            self.needed.add("take_turn")
            call: Tree = turn_call(step, self._renderer, "get_session_history")
            return self._awaited(call) if step.call.startswith("a") else call
        if isinstance(step, Trial):
            self.needed.add(step.name)
            return trial_call(step, "target=TARGET", persistence=TRIALS[step.name].persistence)
        if isinstance(step, Together):
            self.needed.add("run_together")
            return together_call(step, self._renderer)
        argument = getattr(step, "handle", None) in self._arguments and isinstance(step, Add | Assign)
        call = call_of(step, self._renderer, f"added_by_h{step.handle}" if argument else None)  # type: ignore[union-attr]
        if isinstance(step, Add) and step.container in FAILING:
            self.needed.add("failing")
        if isinstance(step, Cancel):
            helper = "cancelled_beside" if step.beside else "cancelled"
            self.needed.add(helper)
            beside = beside_of(step, self._renderer)
            seconds = [f"seconds={step.seconds!r}"] if step.seconds else []
            return self._awaited(called(helper, call, f"turns={step.turns}", *beside, *seconds))
        if getattr(step, "mode", "sync") == "sync" or (isinstance(step, Add) and step.call != "add_messages"):
            return call
        if isinstance(step, AddBack):
            read = f"loop.run_until_complete(h{step.handle}.aget_messages())"
            call = called(f"h{step.handle}.aadd_messages", read)
        return self._awaited(call)

    def _awaited(self, call: Tree) -> Tree:
        self.needed.add("loop")
        return called("loop.run_until_complete", call)

    # The last step

    def _observation(self) -> list[Statement]:
        """The last step, and what was observed at it."""
        step, kind = self._steps[-1], self._expectation.kind
        before = self._prepared(self._last, step)
        if kind in ("unchanged-argument", "unchanged-results"):
            done = self._step(self._last, step)
            if isinstance(step, Edit):
                done += self._kept_copy(self._last, step)
            return [*before, *trying(done, "pass  # what counts is what it leaves behind")]
        if isinstance(step, Together):
            return self._tried(step)
        if isinstance(step, Trial):
            found = suffixed(prefixed("observed = ", self._call(step)), ".problem")
            return trying([found], "observed = repr(error)", name=" as error")
        if kind == "free-loop":
            return self._measured(step)
        if kind in ("equal", "one-of", "is-list", "answers"):
            body = self._reading(step)
        elif kind == "names-session":
            return [*before, *self._error_text(step)]
        else:
            body = [*self._step(self._last, step), f"observed = {RETURNED}"]
        return [*before, *trying(body, "observed = error", name=" as error")]

    def _reading(self, step: Step) -> list[Statement]:
        """The step as a read; after any other step, a read through the same handle."""
        if self._expectation.kind == "answers":
            return [prefixed("observed = ", self._call(step))]
        handle = getattr(step, "handle", None)
        if handle is None:
            raise ValueError(f"a {type(step).__name__} reads nothing")
        if isinstance(step, Read):
            return [self._viewed(self._call(step))]
        return [*self._step(self._last, step), self._viewed(f"h{handle}.messages")]

    def _viewed(self, read: Tree, name: str = "observed") -> Tree:
        """The assignment of what is compared of the messages read."""
        view = self._expectation.view
        if self._expectation.kind == "is-list" or view == "readable":
            return prefixed(f"{name} = ", read)
        if view == "content":
            return suffixed(prefixed(f"{name} = [message.content for message in ", read), "]")
        if view == "class":
            return suffixed(prefixed(f"{name} = [type(message).__name__ for message in ", read), "]")
        if view == "loose":
            self.needed.add("loose fields")
            return suffixed(prefixed(f"{name} = [fields(message) for message in ", read), "]")
        return suffixed(prefixed(f"{name} = list(", read), ")")

    def _tried(self, step: Together) -> list[Statement]:
        """The work of several, tried again and again: what happens depends on chance."""
        self.needed.add("problem")
        work = [prefixed("events = ", self._call(step)), "observed = problem(events)"]
        once = trying(work, "observed = repr(error)", name=" as error")
        if not tries_again(self._steps):
            return once
        stop = Compound("if observed is not None:", ("break",))
        return [Compound(f"for _ in range({self._attempts(step)}):", (*token_lines([step]), *once, stop))]

    @staticmethod
    def _attempts(step: Together) -> int:
        """How often it is tried: processes take longer to begin, and overlap more."""
        return 20 if step.how == "processes" else 100

    def _measured(self, step: Step) -> list[Statement]:
        """The call, once to warm up, then several times beside a task that watches the event loop.

        If it does not hold up the loop as it is, it is measured over a slowed store, where there is a way to slow it.
        """
        call = self._call(step)
        if isinstance(call, str) or call.opening != "loop.run_until_complete(":
            raise ValueError(f"a {type(step).__name__} is no async call")
        self.needed.add("stall")
        watched = suffixed(prefixed("loop.run_until_complete(stall(", call.items[0]), "))")
        several = Block("return min(", (watched, "for _ in range(5)"), ")", "")
        measured = self._refilled(watched) if isinstance(step, Clear) else (several,)
        return [
            call,
            "",
            Compound("def measured():", measured),
            "",
            "waited, took = measured()",
            'slow = getattr(backend, "slow", None)',
            Compound("if slow and waited < 0.010:", (Compound("with slow(0.2):", ("waited, took = measured()",)),)),
        ]

    def _refilled(self, watched: Tree) -> tuple[Statement, ...]:
        """The measurements of a clear, each after the adds that it is to clear."""
        adds = [self._call(step) for step in self._steps[:-1] if isinstance(step, Add)]
        stalls = suffixed(prefixed("stalls.append(", watched), ")")
        return ("stalls = []", Compound("for _ in range(5):", (*adds, stalls)), "return min(stalls)")

    def _error_text(self, step: Step) -> list[Statement]:
        """The text of the error that the step raises, judged for what it names."""
        self.needed.add("credentials")
        handle = getattr(step, "handle", None)
        opened = [s for s in self._steps if isinstance(s, Open) and s.handle == handle]
        session = template_source(opened[0].session) if opened else '""'
        text = 'text = f"{error} {error!r} " + str(getattr(error, "__notes__", ""))'
        raised = trying(self._step(self._last, step), text, name=" as error")
        return [
            f"session_id = {session}",
            "text = session_id  # unless it raises, no error leaves the name out",
            *raised,
            'secrets = [secret for secret in getattr(backend, "secrets", ()) if secret in text]',
        ]


def _opens(step: Step, handle: int) -> bool:
    return isinstance(step, Open) and step.handle == handle
