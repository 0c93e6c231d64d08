"""The site is built strictly, leads nowhere wrong, names everything there is, and what it says to type works."""

from __future__ import annotations

import ast
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path

import click
import pytest
from docs._tools import publish_matrix
from docs._tools.clause_pages import examples
from docs._tools.links import broken_links
from docs._tools.matrix_pages import render
from docs._tools.mends import MENDS, MendsError, load_mends, unmatched
from docs._tools.published import DOCS, PEERS, ROOT, TARGETS, Publication, fingerprint
from tests.mutants import MUTANTS

from chathistory.conformance._cli import commands
from chathistory.conformance._report import Report
from chathistory.reference import CLAUSES

FENCE = re.compile(
    r"^(?P<fence>`{3,})(?P<language>\w+)(?: title=\"(?P<title>[^\"]*)\")?\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
DURATION = re.compile(r"\d+(\.\d+)? m?s\b")
SLOWEST = re.compile(r"\(slowest [A-Z]+-\d+, ")
NAME_OF_MESSAGE = re.compile(r"\bm\d+\b")


@dataclass(frozen=True)
class Block:
    """A block of code of a page."""

    language: str
    title: str
    body: str


def blocks(page: str) -> list[Block]:
    """The blocks of code of a page, in order."""
    text = (DOCS / page).read_text("utf-8")
    return [Block(found["language"], found["title"] or "", found["body"]) for found in FENCE.finditer(text)]


def words(text: str) -> str:
    """A text without what differs from run to run, from layout to layout, or by the numbers of messages."""
    text = SLOWEST.sub("(slowest CLAUSE, ", NAME_OF_MESSAGE.sub("m", text))
    return " ".join(DURATION.sub("TIME", text).split())


class Text(HTMLParser):
    """The text of a page of the site."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.ids: set[str] = set()
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors."""
        self.ids.update(value for name, value in attrs if name == "id" and value)

    def handle_data(self, data: str) -> None:
        """Note the text."""
        self.parts.append(data)

    @property
    def words(self) -> str:
        """All of it, on one line."""
        return " ".join("".join(self.parts).split())


# The site.


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as strictly as in CI."""
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    folder = tmp_path_factory.mktemp("site") / "built"
    # Not --quiet, with which it counts no warnings, and so is not strict.
    done = subprocess.run(  # noqa: S603 -- our own command
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


@pytest.mark.slow
def test_every_link_leads_somewhere_and_nothing_is_fetched_from_elsewhere(site: Path) -> None:
    """Pages, anchors, reports and scripts; without a network."""
    assert list(broken_links(site)) == []


@pytest.mark.slow
def test_every_clause_has_its_place_with_its_sentence_and_reason(site: Path) -> None:
    """The page of its family has an anchor for it."""
    for each in CLAUSES:
        page = Text(site / f"clauses/{each.family.lower()}.html")
        assert each.id.lower() in page.ids
        for text in (each.sentence, each.rationale, *each.causes):
            assert " ".join(text.split()) in page.words, each.id


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site: Path) -> None:
    """Of the reference, the suite and each adapter."""
    for module, page in public_modules():
        found = Text(site / "reference" / page).ids
        assert [name for name in exported(module) if f"{module}.{name}" not in found] == []


def public_modules() -> Iterator[tuple[str, str]]:
    """The modules whose names are promised, each with its page."""
    for module in ("reference", "conformance"):
        yield f"chathistory.{module}", f"{module}.html"
    for module in ("linearizability", "strategies"):
        yield f"chathistory.conformance.{module}", f"{module}.html"
    for path in sorted((ROOT / "adapters/chathistory/adapters").glob("*/__init__.py")):
        if "__all__" in path.read_text("utf-8"):
            yield f"chathistory.adapters.{path.parent.name}", "adapters.html"


def exported(module: str) -> list[str]:
    """A module's `__all__`, without importing it: the driver of a store need not be installed."""
    place = ROOT / module.split(".")[1] / module.replace(".", "/")
    source = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    for node in ast.parse(source.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["__all__"]:
            return list(ast.literal_eval(node.value))
    raise AssertionError(f"{module} has no __all__")


@pytest.mark.slow
def test_every_command_and_option_is_in_the_reference(site: Path) -> None:
    """With its help, as the command itself gives it."""
    page = Text(site / "reference/command.html")
    for path, command in all_commands(commands, "chathistory"):
        assert path.replace(" ", "-") in page.ids
        for option in command.params:
            if isinstance(option, click.Option):
                assert all(name in page.words for name in (*option.opts, *option.secondary_opts))
                assert " ".join((option.help or "").split()) in page.words


def all_commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    """A command and those below it, each with its path."""
    yield path, command
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from all_commands(inner, f"{path} {name}")


def test_nothing_of_a_workplace_is_published() -> None:
    """No paths of the machine that the reports were made on, and no placeholder of an address."""
    for path in (path for path in DOCS.rglob("*") if path.suffix in (".md", ".json", ".toml", ".py", ".html")):
        text = path.read_text("utf-8")
        assert str(ROOT) not in text, path
        assert re.findall(r"/(?:home|Users|root|work)/\w+|\bOWNER/", text) == [], path


# What the pages say to type.


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A folder to type commands in."""
    return Typed(tmp_path)


@dataclass
class Typed:
    """A reader who does what a page says, in a folder of their own."""

    folder: Path
    said: str = ""

    def follow(self, block: Block) -> None:
        """Write the file, run the commands, or look whether they printed what the page shows."""
        if block.language == "python" and block.title.endswith(".py"):
            (self.folder / block.title).write_text(block.body, "utf-8")
        elif block.language == "sh" and "pip install" not in block.body:
            for line in block.body.splitlines():
                self.run(line)
        elif block.language == "text":
            assert words(block.body) in words(self.said)

    def run(self, line: str) -> None:
        """Run a command, which ends as its comment says."""
        command, _, comment = line.partition("  # ends with ")
        name, *arguments = shlex.split(command)
        whole = [*PROGRAMS[name], *(path for argument in arguments for path in self.expanded(argument))]
        done = subprocess.run(  # noqa: S603 -- of our own pages
            whole, cwd=self.folder, capture_output=True, text=True, check=False, env={**os.environ, "COLUMNS": "80"}
        )
        assert done.returncode == int(comment), done.stdout + done.stderr
        self.said = done.stdout

    def expanded(self, argument: str) -> list[str]:
        """The files that a pattern stands for, as a shell has it."""
        found = sorted(self.folder.glob(argument)) if "*" in argument else []
        return [str(path.relative_to(self.folder)) for path in found] or [argument]


PROGRAMS: Mapping[str, list[str]] = {
    "chathistory": [sys.executable, "-m", "chathistory.conformance"],
    "python": [sys.executable],
    "pytest": [sys.executable, "-m", "pytest", "-p", "no:cacheprovider"],
}


@pytest.mark.slow
def test_the_five_minutes_can_be_followed_to_the_letter(typed: Typed) -> None:
    """Every file is written, every command ends as it says, and prints what the page shows."""
    for block in blocks("start.md"):
        typed.follow(block)
    assert sorted(path.name for path in typed.folder.glob("*.py")) == ["history.py", "test_history.py"]


@pytest.mark.slow
def test_the_tests_of_the_page_on_unit_tests_pass(typed: Typed) -> None:
    """All of them, as a reader would run them."""
    for block in blocks("unit-tests.md"):
        typed.follow(block)
    typed.run("pytest -W ignore::DeprecationWarning  # ends with 0")
    assert " 8 passed" in f" {typed.said}"


def test_the_counterexample_that_is_taken_apart_is_what_the_command_prints(typed: Typed) -> None:
    """Each piece of it, and the end of its script."""
    typed.run("chathistory check peer:in-memory --clause ATM-1  # ends with 1")
    shown = [block for block in blocks("counterexample.md") if block.title == "what it prints"]
    assert len(shown) == 5
    for block in shown:
        typed.follow(block)
    [script] = typed.folder.glob("chathistory-report/*-ATM-1.py")
    [end] = [block for block in blocks("counterexample.md") if block.title == "its end"]
    assert words(end.body) in words(script.read_text("utf-8"))


# The examples of the clauses.


def test_every_clause_has_an_example_of_a_defect_that_it_names_first() -> None:
    """One that is still planted."""
    first = {mutant.name: mutant.clauses[0] for mutant in MUTANTS}
    shown = {clause_id: first.get(example.defect) for clause_id, example in examples().items()}
    assert shown == {each.id: each.id for each in CLAUSES}


# The matrix.


def test_the_pages_of_the_matrix_are_those_of_the_saved_reports(tmp_path: Path) -> None:
    """Rendered again they are the same, byte for byte, and so are the scripts."""
    shutil.copytree(DOCS / "matrix", tmp_path / "matrix")
    render(Publication(tmp_path))
    made = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    kept = {name: (DOCS / name).read_bytes() for name in made}
    assert made == kept


def test_all_that_is_published_is_checked_whole() -> None:
    """A report for each target, none of a run that was cut short."""
    reports = Publication().reports()
    assert list(reports) == list(TARGETS)
    assert all(report.complete for report in reports.values())
    assert [target for target in reports if target not in PEERS and reports[target].verdict != "conformant"] == []


def test_every_violation_is_explained_with_what_would_mend_it() -> None:
    """And nothing is explained that does not occur."""
    assert unmatched(load_mends(), Publication().reports()) == []


def without(report: Report, clause_id: str) -> Report:
    """A report in full in which a clause passed."""
    results = (
        replace(each, outcome="passed", counterexample=None) if each.id == clause_id else each
        for each in report.clauses
    )
    return replace(report, clauses=tuple(results), configuration=replace(report.configuration, effort="full"))


def test_a_violation_without_an_explanation_is_named() -> None:
    """Of a peer, and of an adapter of ours, which may have none."""
    reports, mends = Publication().reports(), load_mends()
    peer = mends["peer:in-memory"]
    unexplained = {**mends, peer.name: replace(peer, broken=peer.broken[1:])}
    only = {peer.name: reports[peer.name]}
    assert unmatched(unexplained, only) == ["peer:in-memory breaks SNP-1, which is not explained"]
    [first, *_] = unmatched(mends, {"sqlite": reports[peer.name]})
    assert first.startswith("sqlite is ours and breaks SNP-1")


def test_an_explanation_of_what_no_longer_occurs_is_named() -> None:
    """After a run in full; what depends on chance may be missed."""
    report = Publication().reports()["peer:in-memory"]
    mended = {"peer:in-memory": without(report, "SNP-6")}
    assert unmatched(load_mends(), mended) == ["peer:in-memory no longer breaks SNP-6: remove its explanation"]


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('clauses = ["SNP-2"]', 'clauses = ["SNP-1"]', "SNP-1 is explained twice"),
        ('mend = "Copy on add."', 'mend = ""', "what would mend it"),
        ('mend = "Copy on add."', 'mend = "Copy on add."\nby_chance = true', "can't be by chance"),
        ('of = "VAL-5"', 'of = "VAL-4"', "nothing can be VAL-4 again"),
        ('name = "peer:redis"', 'name = "peer:radish"', "expected each of"),
    ],
)
def test_a_file_of_mends_that_is_not_as_it_must_be_is_refused(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    """By a line that says why."""
    text = MENDS.read_text("utf-8")
    assert old in text
    (tmp_path / "mends.toml").write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(MendsError, match=complaint):
        load_mends(tmp_path / "mends.toml")


# Making the matrix.


class Pretended(publish_matrix.Plan):
    """A plan whose runs are over at once: one target fails, the others get the report that is published."""

    failing = "sqlite"
    ran: list[str] = []  # noqa: RUF012 -- emptied by the fixture

    def _check(self, target: str, path: Path, folder: Path) -> str:
        self.ran.append(target)
        if target == self.failing:
            return "no disk"
        path.write_bytes(Publication().path("peer:in-memory").read_bytes())
        return "" if folder.is_dir() else "no folder"


@pytest.fixture
def plan(tmp_path: Path) -> Pretended:
    """A plan that pretends, into a folder of its own."""
    Pretended.ran.clear()
    return Pretended(Publication(tmp_path), ("--seed", "0"), 1.0)


def test_a_target_that_fails_is_named_and_the_others_are_published(
    plan: Pretended, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each report is there as soon as its run has ended."""
    assert publish_matrix.check_all(plan, (), again=False) == {"sqlite": "no disk"}
    assert plan.ran == list(TARGETS)
    assert [target for target in TARGETS if not plan.publication.path(target).exists()] == ["sqlite"]
    assert "sqlite: no disk" in capsys.readouterr().out


def test_a_second_run_goes_on_where_the_first_one_stopped(plan: Pretended) -> None:
    """What is there by the same sources is kept, unless it is named or all is asked for again."""
    publish_matrix.check_all(plan, (), again=False)
    for targets, again, expected in (
        ((), False, ["sqlite"]),
        (("redis",), False, ["redis"]),
        ((), True, list(TARGETS)),
    ):
        plan.ran.clear()
        publish_matrix.check_all(plan, targets, again=again)
        assert plan.ran == expected


def test_reports_by_other_sources_or_options_are_made_again(tmp_path: Path) -> None:
    """The fingerprint is of what decides a run: the sources, and how hard it looks."""
    (tmp_path / "reference").mkdir()
    module = tmp_path / "reference/module.py"
    module.write_text("one")
    before = fingerprint("--quick", root=tmp_path)
    assert before == fingerprint("--quick", root=tmp_path)
    assert before != fingerprint("--thorough", root=tmp_path)
    module.write_text("two")
    assert before != fingerprint("--quick", root=tmp_path)


@pytest.mark.long
def test_the_command_checks_a_target_and_renders_the_pages(tmp_path: Path) -> None:
    """As it is typed, with a target of our own that takes seconds."""
    command = [sys.executable, "-m", "docs._tools.publish_matrix", "--quick", "--docs", str(tmp_path), "reference"]
    done = subprocess.run(  # noqa: S603 -- our own command
        command, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "matrix/reference.json").read_text())["verdict"] == "conformant"
    assert {path.name for path in tmp_path.iterdir()} == {"matrix", "matrix.md", "peers.md"}


def test_the_readme_names_every_clause_that_a_peer_is_seen_to_break() -> None:
    """Its table says no less than the published reports, but for what only warns; it may say more, found otherwise."""
    rows = re.findall(
        r"^\| `chathistory check (peer:\S+)` \|(.*)$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE
    )
    assert len(rows) == len(PEERS)
    for name, row in rows:
        report = json.loads((DOCS / "matrix" / f"{name.replace(':', '-')}.json").read_text("utf-8"))
        broken = {clause["id"] for clause in report["clauses"] if clause["outcome"] == "failed"}
        assert broken <= _named_in(row), name


def _named_in(line: str) -> set[str]:
    """The clauses that a line names, with those between "ATM-1 to ATM-3"."""
    named = set(re.findall(r"[A-Z]{3,4}-\d+", line))
    for family, first, last in re.findall(r"([A-Z]{3,4})-(\d+) to \1-(\d+)", line):
        named |= {f"{family}-{number}" for number in range(int(first), int(last) + 1)}
    return named
