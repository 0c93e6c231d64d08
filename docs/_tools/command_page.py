"""Writes the reference of the command from the command itself: every group, command, argument and option."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click
from docs._tools.published import head

from chathistory.conformance._cli import commands


def command_page() -> str:
    """`reference/command.md`."""
    sections = _sections(commands, _context(commands, "chathistory", None))
    return "\n".join([head("command"), *sections])


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _sections(command: click.Command, context: click.Context) -> Iterator[str]:
    """A section for a command, then one for each of its subcommands."""
    path = context.command_path
    yield from (f"## {path} {{#{path.replace(' ', '-')}}}", "", *_about(command, context), "")
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.commands[name]
            yield from _sections(inner, _context(inner, name, context))


def _about(command: click.Command, context: click.Context) -> Iterator[str]:
    yield from (inspect.cleandoc(command.help or ""), "")
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    yield from ("```text", usage, "```", "")
    yield from ("| option | what it does |", "|---|---|")
    for parameter in command.get_params(context):
        if isinstance(parameter, click.Option) and (record := parameter.get_help_record(context)):
            yield f"| {_option(record[0])} | {_cell(record[1])} |"
    if command.epilog:
        yield from ("", command.epilog)


def _option(names: str) -> str:
    return f"`{names}`".replace("|", "\\|")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[").replace("*", "\\*")
