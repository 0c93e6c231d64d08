"""Writes counterexamples as stand-alone scripts: langchain-core, the user's factory, and nothing else.

A script does what the program does, in the order in which it does it, and compares at the one step that
diverged. It holds no more helpers than its own steps need, so that a stranger can read it from top to bottom.
"""

from __future__ import annotations

import ast
import sys
import textwrap
from collections.abc import Collection, Iterable, Sequence
from importlib.resources import files

from chathistory.conformance._layout import WIDTH, Block, laid_out
from chathistory.conformance._literals import text_source
from chathistory.conformance._program import Program
from chathistory.conformance._script_body import Body
from chathistory.conformance._script_verdict import Expectation as Expectation  # its public place
from chathistory.conformance._source import definitions_of_names, imports_of_names
from chathistory.conformance._trials import TRIALS

_MODULES_OF_HELPER = {
    "take_turn": ("_runnables.py",),
    "run_together": ("trials/_writers.py", "_together.py"),
}


def script_of(
    program: Program,
    *,
    clause_id: str,
    sentence: str,
    explanation: str,
    step: int,
    expectation: Expectation,
    import_path: str | None,
    backend_name: str,
) -> str:
    """A script that shows a violation: it exits with 1 and says STILL FAILING while the violation is there.

    Args:
        program: what is done.
        clause_id: the clause that is broken.
        sentence: what the clause says.
        explanation: what differs.
        step: the index of the step that diverged; later steps are left out.
        expectation: what must be so at that step.
        import_path: where the factory or backend is, `module:attribute` or `file.py:attribute`; with None the
            script has a place to put it.
        backend_name: how the report calls the backend.
    """
    body = Body(program.steps[: step + 1], expectation)
    block, verdict = body.block(), body.verdict(clause_id)
    modules = [module_source(name) for name in _modules(body.needed)]
    imports = [line for lines, _ in modules for line in lines]
    parts = [
        _docstring(clause_id, sentence, explanation, backend_name, import_path),
        import_section([*imports_of_names(body.names), *imports]),
        _target(import_path),
        *definitions_of_names(body.names),
        *(source for _, source in modules),
        *body.helpers(has_target=import_path is not None),
        body.tokens(),
        block,
        verdict,
    ]
    return _joined(part for part in parts if part)


def _modules(needed: Collection[str]) -> list[str]:
    """The files of ours that a script holds whole, each after those it needs."""
    names = [name for helper, modules in _MODULES_OF_HELPER.items() if helper in needed for name in modules]
    for trial in TRIALS.values():
        if trial.name in needed:
            names += trial.modules
    return names


def module_source(name: str) -> tuple[list[str], str]:
    """The imports of one of our modules, a line each, and the rest of it, without its docstring."""
    source = files("chathistory.conformance").joinpath(name).read_text(encoding="utf-8")
    lines = source.splitlines()
    imports: list[str] = []
    for index, node in enumerate(ast.parse(source).body):
        is_import = isinstance(node, ast.Import | ast.ImportFrom)
        if is_import and not _is_of_ours(node):
            imports.append(ast.unparse(node))
        if is_import or (index == 0 and isinstance(node, ast.Expr)):
            for number in range(node.lineno - 1, node.end_lineno or node.lineno):
                lines[number] = ""
    return imports, "\n".join(lines).strip()


def _is_of_ours(node: ast.stmt) -> bool:
    """Whether it imports another file that the script holds as well."""
    return isinstance(node, ast.ImportFrom) and (node.module or "").startswith("chathistory.")


def import_section(lines: Iterable[str]) -> str:
    """Import statements merged and sorted as ruff does: __future__, the standard library, others."""
    plain: set[str] = set()
    names: dict[str, set[str]] = {}
    for node in ast.parse("\n".join(lines)).body:
        if isinstance(node, ast.Import):
            plain.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names.setdefault(node.module or "", set()).update(alias.name for alias in node.names)
    sections: list[list[str]] = [[], [], []]
    for module in sorted(plain):
        sections[_section(module)].append(f"import {module}")
    for module in sorted(names):
        sections[_section(module)].append(_import_from(module, sorted(names[module])))
    return "\n\n".join("\n".join(section) for section in sections if section)


def _section(module: str) -> int:
    if module == "__future__":
        return 0
    return 1 if module.partition(".")[0] in sys.stdlib_module_names else 2


def _import_from(module: str, names: Sequence[str]) -> str:
    line = f"from {module} import {', '.join(names)}"
    return line if len(line) <= WIDTH else laid_out(Block(f"from {module} import (", tuple(names), ")"))


def _joined(parts: Iterable[str]) -> str:
    """The parts with a blank line between them, and two around definitions, as ruff has them."""
    text, after_definition = "", False
    for part in parts:
        is_definition = part.startswith(("def ", "async def ", "class ", "@"))
        if text:
            text += "\n\n\n" if is_definition or after_definition else "\n\n"
        text, after_definition = text + part, is_definition or "\ndef " in part
    return f"{text}\n"


def _docstring(clause_id: str, sentence: str, explanation: str, backend_name: str, import_path: str | None) -> str:
    argument = "[TARGET]" if import_path else "TARGET"
    lines = f"{clause_id}: {sentence}\n\n{backend_name}: {explanation}".split("\n")
    text = "\n".join(textwrap.fill(line, WIDTH - 4, break_on_hyphens=False) for line in lines)
    usage = f"""
Run it:  python THIS_FILE.py {argument}

TARGET is module:attribute or path/to/file.py:attribute: a get_session_history(session_id), an object
that has one, or a function that yields either. The script needs langchain-core and nothing else.
It prints STILL FAILING and exits with 1 while the violation is there, else FIXED, and exits with 0.
"""
    return f'"""{_in_docstring(text)}\n{usage}"""'


def _in_docstring(text: str) -> str:
    """The text with whatever would end or change a docstring escaped."""
    safe = text.replace("\\", "\\\\").replace('"""', '\\"\\"\\"')
    return "".join(c if c == "\n" or c.isprintable() else repr(c)[1:-1] for c in safe)


def _target(import_path: str | None) -> str:
    if import_path is not None:
        return f"TARGET = sys.argv[1] if len(sys.argv) > 1 else {text_source(import_path)}"
    return """\
TARGET = sys.argv[1] if len(sys.argv) > 1 else None


# ------------------------------------------------------------------------
# PUT YOUR FACTORY HERE, or name it on the command line.
# ------------------------------------------------------------------------
def get_session_history(session_id):
    raise SystemExit("put your factory here, or run: python THIS_FILE.py module:attribute")"""
