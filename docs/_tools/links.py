"""Checks every link of the built site: its page, its anchor, and that reading it fetches nothing from elsewhere.

::

    python -m docs._tools.links site

Links to other sites are checked for their form only, since nothing here needs a network.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

# What a browser fetches by itself, and the attribute that says from where.
_FETCHED = {"script": "src", "img": "src", "link": "href", "iframe": "src", "source": "src", "object": "data"}
_NOT_FETCHED = ("canonical", "alternate", "next", "prev", "license", "author")
_ELSEWHERE = ("http", "https")


@dataclass(slots=True)
class _Page(HTMLParser):
    """What a page offers to link to, what it links to, and what it fetches."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    fetched: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note anchors and links."""
        given = {name: value for name, value in attrs if value is not None}
        self.anchors.update(given[name] for name in ("id", "name") if name in given)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        relation = given.get("rel", "").split()
        if tag in _FETCHED and _FETCHED[tag] in given and not set(relation) & set(_NOT_FETCHED):
            self.fetched.append(given[_FETCHED[tag]])


def broken_links(site: Path) -> Iterator[str]:
    """What is wrong with the links of a site, in a sentence each.

    Args:
        site: the folder that it was built into.
    """

    @cache
    def read(path: Path) -> _Page:
        page = _Page()
        page.feed(path.read_text("utf-8"))
        return page

    for path in sorted(site.rglob("*.html")):
        page = read(path)
        shown = path.relative_to(site).as_posix()
        for target in page.fetched:
            if urlsplit(target).scheme in _ELSEWHERE or target.startswith("//"):
                yield f"{shown}: fetches {target}"
        for target in (*page.links, *page.fetched):
            if problem := _problem(target, path, site, read):
                yield f"{shown}: {target}: {problem}"


def _problem(target: str, page: Path, site: Path, read: Callable[[Path], _Page]) -> str:
    """Why a link leads nowhere; empty if it does not."""
    parts = urlsplit(target)
    if parts.scheme in ("mailto", "data", "javascript"):
        return ""
    if parts.scheme or parts.netloc:
        return "" if parts.scheme in _ELSEWHERE and "." in parts.netloc else "no address of the web"
    # The page of a site that is not found is served for any address, so its links begin at the root.
    start = site if parts.path.startswith("/") else page.parent
    path = (start / unquote(parts.path).lstrip("/")).resolve() if parts.path else page
    path = path / "index.html" if path.is_dir() else path
    if not path.is_file():
        return "there is no such file"
    if not path.is_relative_to(site.resolve()) and path != page:
        return "it is outside of the site"
    if parts.fragment and path.suffix == ".html":
        return "" if unquote(parts.fragment) in read(path).anchors else "there is no such anchor"
    return ""


@click.command()
@click.argument("site", type=click.Path(exists=True, file_okay=False, path_type=Path))
def main(site: Path) -> None:
    """Check the links of a built site."""
    problems = list(broken_links(site))
    for problem in problems:
        click.echo(problem, err=True)
    pages = len(list(site.rglob("*.html")))
    click.echo(f"{pages} pages, {len(problems)} broken links")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
