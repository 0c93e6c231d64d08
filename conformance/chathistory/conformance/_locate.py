"""Finds the object that a target names, or says in one line why it can't and what to write instead.

A target is the name of a registered backend (an entry point of the group ``chathistory.backends``),
``package.module:attribute`` or ``path/to/file.py:attribute``. A registered name wins.
"""

from __future__ import annotations

import dis
import importlib
import importlib.util
import inspect
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import CodeType, ModuleType
from typing import NoReturn

from chathistory.conformance._errors import UsageError
from chathistory.conformance._text import did_you_mean, error_line, one_line, raised_at

GROUP = "chathistory.backends"

_REQUIREMENT = re.compile(r"^([A-Za-z0-9._-]+).*;.*extra\s*==\s*['\"]([^'\"]+)['\"]")
_NAMES_SHOWN = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Located:
    """What a target names.

    Attributes:
        subject: the object itself, whatever it is.
        name: how a report calls it when it has no name of its own.
        import_path: how a script finds it again.
        entry: the entry point, if the target is a registered name.
    """

    subject: object
    name: str
    import_path: str
    entry: EntryPoint | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RegisteredBackend:
    """An entry of the list of backends that can be checked by name.

    Attributes:
        name: the target to give.
        summary: the first line of its docstring.
        import_path: where it is defined.
        problem: why it can't be used here and what to install; empty if it can.
    """

    name: str
    summary: str
    import_path: str
    problem: str


def registered_backends() -> list[RegisteredBackend]:
    """All registered backends by name, those that can't be imported included."""
    return [_describe(entry) for _, entry in sorted(_entries().items())]


def locate(target: str) -> Located:
    """The object that the target names.

    Raises:
        UsageError: it names nothing that can be imported.
    """
    entry = _entries().get(target)
    if entry is not None:
        return Located(subject=load_entry(entry), name=target, import_path=f"{entry.module}:{entry.attr}", entry=entry)
    place, _, attribute = target.rpartition(":")
    if not place or not _is_dotted_name(attribute):
        _raise_unknown(target)
    return _in_file(place, attribute) if _is_path(place) else _in_module(place, attribute, target)


@contextmanager
def importable(target: str) -> Iterator[None]:
    """Let the current directory, and the folder of a target that is a file, be imported from meanwhile."""
    place = target.rpartition(":")[0]
    roots = [str(_root_of(Path(place)))] if place and _is_path(place) else []
    added = [root for root in [*roots, str(Path.cwd())] if root not in sys.path]
    sys.path[:0] = added
    try:
        yield
    finally:
        for root in added:
            if root in sys.path:
                sys.path.remove(root)


def load_entry(entry: EntryPoint) -> object:
    """The object of an entry point.

    Raises:
        UsageError: it can't be imported here.
    """
    try:
        return entry.load()
    except ModuleNotFoundError as error:
        raise UsageError(missing_module(entry.name, error, entry)) from error
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"the registered backend {entry.name!r} can't be imported: {error_line(error)}{raised_at(error)}"
        ) from error


def missing_module(name: str, error: ModuleNotFoundError, entry: EntryPoint | None) -> str:
    """The line that names the module that is not installed, and the extra that brings it."""
    module = error.name or str(error)
    return f"the backend {name!r} needs {module!r}, which is not installed{_mend(module, entry)}"


def _mend(module: str, entry: EntryPoint | None) -> str:
    """`` : pip install …`` for a module that one of the extras of the backend's own distribution brings."""
    if entry is None or entry.dist is None:
        return ""
    distribution = entry.dist.name
    offered = entry.extras or _extras_with(module, entry.dist.requires or [])
    family = entry.name.partition(":")[0]
    # The backend sqlite has the extra sqlite, and peer:sql-sqlite the extra peers.
    offered = sorted(offered, key=lambda extra: not (extra.startswith(family) or family.startswith(extra)))
    return f': pip install "{distribution}[{offered[0]}]"' if offered else ""


def _extras_with(module: str, requirements: list[str]) -> list[str]:
    """The extras, after the metadata of a distribution, that install a module's distribution."""
    wanted = _normal(module.partition(".")[0])
    matches = (_REQUIREMENT.match(requirement) for requirement in requirements)
    return [found[2] for found in matches if found and _normal(found[1]) == wanted and found[2] != "dev"]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _entries() -> dict[str, EntryPoint]:
    """The entry points of our group by name; an editable install may list one twice."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def _describe(entry: EntryPoint) -> RegisteredBackend:
    summary, problem = "", ""
    try:
        subject = load_entry(entry)
        summary = one_line((getattr(subject, "__doc__", None) or "").strip().partition("\n")[0])
        problem = _lacking(subject, entry)
    except UsageError as error:
        problem = str(error)
    return RegisteredBackend(
        name=entry.name, summary=summary, import_path=f"{entry.module}:{entry.attr}", problem=problem
    )


def _lacking(subject: object, entry: EntryPoint) -> str:
    """What a backend function would miss once it is called, as far as its own import statements tell."""
    code = getattr(inspect.unwrap(subject) if callable(subject) else subject, "__code__", None)
    for module in _imports_of(code) if code is not None else ():
        top = module.partition(".")[0]
        if top and importlib.util.find_spec(top) is None and _mend(top, entry):
            return missing_module(entry.name, ModuleNotFoundError(name=top), entry)
    return ""


def _imports_of(code: CodeType) -> list[str]:
    return [each.argval for each in dis.get_instructions(code) if each.opname == "IMPORT_NAME"]


def _raise_unknown(target: str) -> NoReturn:
    """Refuse a target that is neither a registered name nor a place and an attribute."""
    place = target.removesuffix(":")
    if _is_path(place) or (place and Path(place).is_dir()):
        raise UsageError(
            f"{target!r} names no attribute; add the one to check, for example "
            f"{place if place.endswith('.py') else place.rstrip('/') + '/file.py'}:get_session_history"
        )
    raise UsageError(
        f"there is no backend named {target!r}{did_you_mean(target, _entries())}{_known()}; "
        "or name your own as package.module:attribute or path/to/file.py:attribute"
    )


def _known() -> str:
    return f"; the backends are {', '.join(sorted(_entries())) or 'none (nothing is registered)'}"


def _in_module(module_name: str, attribute: str, target: str) -> Located:
    """The attribute of a module that is imported by name."""
    if not _is_dotted_name(module_name):
        _raise_unknown(target)
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and f"{module_name}.".startswith(f"{error.name}."):
            raise UsageError(_no_module(module_name, error.name, target)) from None
        raise _import_failed(module_name, error) from error
    except (Exception, SystemExit) as error:
        raise _import_failed(module_name, error) from error
    return Located(subject=_attribute(module, attribute, module_name), name=target, import_path=target)


def _no_module(module_name: str, missing: str, target: str) -> str:
    hint = did_you_mean(target, _entries())
    if hint:
        return f"there is no backend named {target!r}{hint}{_known()}"
    part = "" if missing == module_name else f" (no {missing!r})"
    return (
        f"there is no module {module_name!r}{part}, neither installed nor below the current directory; "
        "a file is named by its path, for example path/to/file.py:attribute"
    )


def _in_file(place: str, attribute: str) -> Located:
    """The attribute of a file that is named by its path."""
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise UsageError(f"there is no file {place!r}{did_you_mean(path.name, _python_files(path.parent))}")
    try:
        module = _import_file(path)
    except (Exception, SystemExit) as error:
        raise _import_failed(place, error) from error
    return Located(
        subject=_attribute(module, attribute, place),
        name=f"{path.name}:{attribute}",
        import_path=f"{path}:{attribute}",
    )


def _python_files(folder: Path) -> list[str]:
    return [each.name for each in folder.glob("*.py")] if folder.is_dir() else []


def _import_file(path: Path) -> ModuleType:
    """Import a file under the name it has in its package, or under one of its own if that name is taken."""
    name = ".".join(path.relative_to(_root_of(path)).with_suffix("").parts)
    if _is_dotted_name(name) and _file_of(name) == path:
        return importlib.import_module(name)
    return _import_as(f"{path.stem}_{zlib.crc32(str(path).encode()):08x}", path)


def _import_as(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _root_of(path: Path) -> Path:
    """The folder from which a file is imported: the first above it that is not a package."""
    folder = path.expanduser().resolve().parent
    while (folder / "__init__.py").is_file() and folder.parent != folder:
        folder = folder.parent
    return folder


def _file_of(module_name: str) -> Path | None:
    """The file that an import of this name would run, or has run."""
    try:
        spec = importlib.util.find_spec(module_name)
    except (ImportError, ValueError):  # a parent that can't be imported, or a module made by hand
        return None
    return Path(spec.origin).resolve() if spec is not None and spec.origin else None


def _attribute(module: ModuleType, dotted: str, place: str) -> object:
    """The attribute, one name of the path after the other."""
    found: object = module
    for name in dotted.split("."):
        found = _get(found, name, place)
    return found


def _get(holder: object, name: str, place: str) -> object:
    try:
        return getattr(holder, name)
    except AttributeError:
        raise UsageError(_no_attribute(holder, name, place)) from None
    except Exception as error:
        raise UsageError(f"reading {name!r} of {place!r} raised {error_line(error)}{raised_at(error)}") from error


def _no_attribute(holder: object, name: str, place: str) -> str:
    names = [each for each in dir(holder) if not each.startswith("_")]
    hint = did_you_mean(name, names)
    home = _module(holder)
    own = [each for each in names if getattr(getattr(holder, each, None), "__module__", None) == home]
    if not hint and own:
        hint = f"; it defines {', '.join(own[:_NAMES_SHOWN])}{', …' if len(own) > _NAMES_SHOWN else ''}"
    return f"{_kind(holder, place)} has no attribute {name!r}{hint}"


def _module(holder: object) -> str | None:
    name = holder.__name__ if isinstance(holder, ModuleType) else getattr(holder, "__module__", None)
    return str(name) if name else None


def _kind(holder: object, place: str) -> str:
    if isinstance(holder, ModuleType):
        return repr(place)
    return f"{getattr(holder, '__qualname__', type(holder).__qualname__)} in {place!r}"


def _import_failed(place: str, error: BaseException) -> UsageError:
    return UsageError(f"importing {place!r} raised {error_line(error)}{raised_at(error)}")


def _is_path(place: str) -> bool:
    return place.endswith(".py") or "/" in place or "\\" in place


def _is_dotted_name(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))
