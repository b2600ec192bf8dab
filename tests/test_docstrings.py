"""Examples in docstrings run, and give what they show."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import atdata

SOURCE = Path(atdata.__file__).parent
WITH_EXAMPLES = sorted(path for path in SOURCE.rglob("*.py") if re.search(r"^\s*>>> ", path.read_text("utf-8"), re.M))


def examples() -> Iterator[doctest.DocTest]:
    """Each docstring that has examples; without the names of its module, as a reader would type it."""
    finder = doctest.DocTestFinder(exclude_empty=True)
    for found in pkgutil.walk_packages(atdata.__path__, "atdata."):
        if SOURCE.parent / f"{found.name.replace('.', '/')}.py" in WITH_EXAMPLES:
            module = importlib.import_module(found.name)
            yield from (test for test in finder.find(module, found.name, globs={}) if test.examples)


EXAMPLES = list(examples())


def test_no_example_is_passed_over():
    written = sum(len(re.findall(r"^\s*>>> ", path.read_text("utf-8"), re.M)) for path in WITH_EXAMPLES)
    assert sum(len(test.examples) for test in EXAMPLES) == written > 10


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_examples_give_what_they_show(test: doctest.DocTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    test.globs["__name__"] = "example"
    said: list[str] = []
    doctest.DocTestRunner(verbose=False).run(test, out=said.append)
    assert said == []
