"""Each page of a decision says what was decided, when, and what else could have been; and is found."""

from __future__ import annotations

import datetime as dt
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted((DOCS / "decisions").glob("[0-9]*.md"))
STATUS = re.compile(r"(Accepted|Proposed|Replaced by \[decision \d+\]\([\w.-]+\)), (\d{4}-\d\d-\d\d)(?:; .+)?\.")


def faults(number: int, page: str) -> list[str]:
    """What a page lacks that a decision must say."""
    title, *paragraphs = [part.strip() for part in page.split("\n\n")]
    said = dict(
        found.groups()
        for part in paragraphs
        if (found := re.fullmatch(r"\*\*([A-Z]\w*)\.\*\*\s*(.*)", part, re.DOTALL))
    )
    found = [] if title.startswith(f"# {number}. ") else [f"title: {title}"]
    least = {"Question": 3, "Chosen": 1, "Alternatives": 3}
    found += [name for name, words in least.items() if len(said.get(name, "").split()) < words]
    status = STATUS.fullmatch(said.get("Status", ""))
    if status is None:
        return [*found, "Status"]
    try:
        return found if dt.date.fromisoformat(status[2]) <= dt.date.today() else [*found, "a date to come"]
    except ValueError:
        return [*found, "a date that is none"]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_a_decision_has_status_date_and_alternatives(path: Path):
    assert faults(int(path.name[:4]), path.read_text("utf-8")) == []


def test_decisions_are_numbered_without_gaps_and_found_from_the_navigation():
    assert [int(path.name[:4]) for path in PAGES] == list(range(1, len(PAGES) + 1))
    linked = re.findall(r"- (decisions/\d+.*\.md)$", (DOCS.parent / "mkdocs.yml").read_text("utf-8"), re.MULTILINE)
    assert linked == [f"decisions/{path.name}" for path in PAGES]


WHOLE = "# 3. T\n\n**Status.** Accepted, 2026-01-02.\n\n**Question.** A b c?\n\n**Chosen.** A b c.\n\n**Alternatives.** A b c.\n"


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("", "", []),
        ("# 3.", "# 4.", ["title: # 4. T"]),
        (", 2026-01-02", "", ["Status"]),
        ("2026-01-02", "2026-13-02", ["a date that is none"]),
        ("2026-01-02", "9999-01-02", ["a date to come"]),
        ("**Alternatives.** A b c.", "**Alternatives.** None.", ["Alternatives"]),
        ("Accepted", "Maybe", ["Status"]),
    ],
)
def test_what_a_page_lacks_is_found(old: str, new: str, found: list[str]):
    assert faults(3, WHOLE.replace(old, new)) == found
