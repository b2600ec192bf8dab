"""The page "Bring what you have": fifteen tasks, each short, and a table that counts lines as they are."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = (Path(__file__).parents[1] / "docs" / "bring-what-you-have.md").read_text("utf-8")


def scripts(kind: str) -> dict[str, str]:
    return dict(re.findall(rf"^```py(?:thon)?\n# {kind}: ([^\n]+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))


def lines(script: str) -> int:
    return sum(bool(line.strip()) and not line.lstrip().startswith("#") for line in script.splitlines())


def test_fifteen_tasks_take_five_lines_at_most() -> None:
    tasks = scripts("task")
    assert len(tasks) == 15
    assert {name: lines(script) for name, script in tasks.items() if lines(script) > 5} == {}


def test_the_table_counts_the_lines_of_both() -> None:
    rows = [
        [cell.strip() for cell in row.split("|")[1:-1]] for row in PAGE.splitlines() if re.match(r"\| .* \| \d", row)
    ]
    ours, theirs = scripts("task"), scripts("peer")
    assert ours.keys() == theirs.keys() == {row[0] for row in rows}
    assert [(row[0], int(row[1]), int(row[3])) for row in rows] == [
        (name, lines(ours[name]), lines(theirs[name])) for name in ours
    ]


def test_the_scripts_that_are_not_run_are_python() -> None:
    for name, script in (
        scripts("task") | {f"peer {name}": script for name, script in scripts("peer").items()}
    ).items():
        compile(script, name, "exec")
