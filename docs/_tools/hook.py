"""The hook of MkDocs: writes the pages that are made from the code, and tidies those of its docstrings."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

sys.path.insert(0, str(Path(__file__).parents[2]))  # MkDocs takes it away again when this module is loaded

from docs._tools.clause_pages import clause_pages
from docs._tools.command_page import command_page

# Docstrings announce a block of code as reStructuredText does; in Markdown the second colon is left standing.
_ANNOUNCED = re.compile(r"::(</p>\s*<div class=\"(?:language-\S+ )?highlight)")
_ALONE = re.compile(r"<p>:(</p>)(?=\s*<div class=\"(?:language-\S+ )?highlight)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the page of each family into the navigation."""
    section: list[Any] = next(entry["The clauses"] for entry in config.nav or [] if "The clauses" in entry)
    section[1:] = [{page.title: page.path} for page in clause_pages() if page.path not in section]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made from the code."""
    for page in clause_pages():
        files.append(File.generated(config, page.path, content=page.text))
    files.append(File.generated(config, "reference/command.md", content=command_page()))
    return files


def on_page_content(html: str, **_: object) -> str:
    """Take away what is left of reStructuredText."""
    return _ALONE.sub("", _ANNOUNCED.sub(r":\1", html))
