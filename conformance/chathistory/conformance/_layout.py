"""Lays Python expressions out: on one line, or over several when they are long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeAlias

WIDTH = 100


@dataclass(frozen=True, slots=True)
class Block:
    """An expression in brackets that may be laid out over several lines, an item to a line.

    Attributes:
        opening: what stands before the items.
        items: the items.
        closing: what stands behind them.
        comma: what separates them; empty for the parts of a comprehension.
    """

    opening: str
    items: tuple[Tree, ...]
    closing: str
    comma: str = ","


Tree: TypeAlias = str | Block


def flat(tree: Tree) -> str:
    """The expression on one line."""
    if isinstance(tree, str):
        return tree
    return tree.opening + f"{tree.comma} ".join(map(flat, tree.items)) + tree.closing


def laid_out(tree: Tree, indent: int = 0, tail: int = 0) -> str:
    """The expression on one line, or on several if it doesn't fit.

    Args:
        tree: the expression.
        indent: by how much the line on which it begins is indented.
        tail: how many characters follow it on its last line.
    """
    line = flat(tree)
    if isinstance(tree, str) or not tree.items or indent + len(line) + tail <= WIDTH:
        return line
    inner = " " * (indent + 4)
    items = [f"{inner}{laid_out(item, indent + 4, 1)}{tree.comma}\n" for item in tree.items]
    return f"{tree.opening}\n{''.join(items)}{' ' * indent}{tree.closing.lstrip(',')}"


def prefixed(prefix: str, tree: Tree) -> Tree:
    """The expression with text before it, such as the name of an argument."""
    return prefix + tree if isinstance(tree, str) else replace(tree, opening=prefix + tree.opening)


def suffixed(tree: Tree, suffix: str) -> Tree:
    """The expression with text after it."""
    return tree + suffix if isinstance(tree, str) else replace(tree, closing=tree.closing + suffix)


def called(function: str, *arguments: Tree) -> Tree:
    """The call of a function."""
    return Block(f"{function}(", arguments, ")")
