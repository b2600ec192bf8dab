"""One word, one thing: what the glossary defines is used, and what it rules out is not."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
GLOSSARY = ROOT / "docs" / "glossary.md"
ROWS = [
    [cell.strip() for cell in row.split("|")[1:4]]
    for row in re.findall(r"^\| (?!word \|).+\|$", GLOSSARY.read_text("utf-8"), re.MULTILINE)
]
TERMS = [term for term, *_ in ROWS]
RULED_OUT = {word: term for term, _, words in ROWS for word in words.split(", ") if word}


def prose() -> Iterator[tuple[str, str]]:
    """The documents but for the glossary, and what the code says of itself."""
    for path in [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]:
        if path != GLOSSARY:
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (text := ast.get_docstring(node)):
                yield str(path.relative_to(ROOT)), text


def used(word: str, text: str) -> bool:
    """Whether a text has a word, in the singular or the plural, over the end of a line too, or as a class."""
    spaced = re.escape(word).replace(r"\ ", r"\s*")
    return re.search(rf"(?<![\w-]){spaced}(?:e?s)?(?![\w-])", text, re.IGNORECASE) is not None


def test_every_word_is_defined_once():
    assert len(TERMS) > 40
    assert len(set(TERMS)) == len(TERMS)
    assert all(meaning for _, meaning, _ in ROWS)
    assert RULED_OUT.keys().isdisjoint(TERMS)
    for table in re.split(r"^## .*$", GLOSSARY.read_text("utf-8"), flags=re.MULTILINE)[1:]:
        terms = [term for term in TERMS if f"\n| {term} |" in table]
        assert terms == sorted(terms, key=str.lower)


def test_every_word_that_is_defined_is_used():
    texts = [text for _, text in prose()]
    assert [term for term in TERMS if sum(used(term, text) for text in texts) < 2] == []


def test_no_word_that_is_ruled_out_is_used():
    assert len(RULED_OUT) > 10
    found = [(where, word, RULED_OUT[word]) for where, text in prose() for word in RULED_OUT if used(word, text)]
    assert found == []


def test_the_words_of_the_architecture_are_defined():
    section = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("\n## Words\n")[1]
    words = [" ".join(word.split()) for word in re.split("[,·]", section.split(":")[0])]
    assert len(words) > 20
    assert sorted(set(words) - set(TERMS)) == []


def test_a_word_is_found_in_the_plural_and_over_lines_and_not_within_another():
    assert used("data point", "two\nData\npoints.")
    assert used("batch", "batches")
    assert used("data store", "a DataStore")
    assert not used("key", "monkey")
    assert not used("batch", "mini-batch")
