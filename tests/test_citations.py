"""What comments and documents refer to is there: sections of the specification, tests that hold a promise, libraries."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPECIFICATION = ROOT / "docs" / "spec"
# `formats.md 3`, `promises.md 1, 4, 7`, `pds-facts.md, Blobs`; not a path to another page, nor a specification of others.
CITATION = re.compile(r"(?<![\w/.*-])([a-z][a-z0-9-]*\.md)\b(?:(?:,)? (\d+(?:, \d+)*|[A-Z][\w ]*[\w]))?")
FOREIGN = "msgpack"


def written() -> Iterator[tuple[str, str]]:
    """Each comment and docstring of the code, with where it stands."""
    for path in [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), ROOT / "conftest.py"]:
        if "node_modules" in path.parts:
            continue
        code = path.read_text("utf-8")
        where = str(path.relative_to(ROOT))
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT:
                yield where, token.string
        for node in ast.walk(ast.parse(code)):
            if (
                isinstance(node, ast.Expr)
                and isinstance(node.value, ast.Constant)
                and isinstance(node.value.value, str)
            ):
                yield where, node.value.value
    for path in (ROOT / "src").rglob("*.c"):
        for comment in re.findall(r"/\*.*?\*/", path.read_text("utf-8"), re.DOTALL):
            yield str(path.relative_to(ROOT)), comment


def citations() -> set[tuple[str, str, str]]:
    found = set()
    for where, text in written():
        for match in CITATION.finditer(text):
            if FOREIGN not in text:
                found.update((where, match[1], section) for section in (match[2] or "").split(", "))
    return found


@pytest.mark.slow
def test_every_citation_leads_to_a_section():
    cited = citations()
    assert len(cited) > 15
    missing = [(where, name, section) for where, name, section in cited if not stands(name, section)]
    assert missing == []


def stands(name: str, section: str) -> bool:
    page = SPECIFICATION / name
    if not page.is_file():
        return False
    text = page.read_text("utf-8")
    if section.isdecimal():
        return re.search(rf"^(?:## {section}\. |\| {section} \|)", text, re.MULTILINE) is not None
    return not section or any(section.startswith(title) for title in re.findall(r"^## (.+)$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "name, section", [("formats.md", "99"), ("formats.md", "Nowhere"), ("nowhere.md", ""), ("promises.md", "99")]
)
def test_a_citation_of_nothing_is_found(name: str, section: str):
    assert not stands(name, section)


def test_each_promise_names_a_test_that_is_there():
    rows = re.findall(
        r"^\| (\d+) \| [SR] \| .* \| (`.+`) \|$", (SPECIFICATION / "promises.md").read_text("utf-8"), re.M
    )
    assert [int(number) for number, _ in rows] == list(range(1, len(rows) + 1))
    named = [path for _, paths in rows for path in re.findall("`([^`]+)`", paths)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_contributing_names_drivers_that_are_used():
    said = re.search(r"a driver \(([^)]*)\)", (ROOT / "CONTRIBUTING.md").read_text("utf-8"))
    assert said is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    needed = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    names = {re.split(r"[^\w-]", each)[0] for each in needed}
    assert {name.strip() for name in said[1].split(",")} - {"..."} <= names
