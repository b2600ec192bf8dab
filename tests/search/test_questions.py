"""Texts become questions, whoever wrote them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import UsageError
from atdata.search import Condition, Question, Term, pieces_of, written
from atdata.search.facets import (
    UNKNOWN,
    FacetKind,
    at_least,
    family_of,
    licenses_in,
    size_class,
    size_classes,
    with_open_end,
)
from atdata.search.question import MAX_TEXT


def said(text: str) -> list[Term | Condition]:
    question = Question.parse(text)
    return [*question.terms, *question.conditions]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Fashion mnist", [Term(("fashion",)), Term(("mnist",))]),
        ("mni*", [Term(("mni",), prefix=True)]),
        ("m* 学*", [Term(("m",)), Term(("学",))]),
        ('"of shoes"', [Term(("of", "shoes"))]),
        ('"of sho"*', [Term(("of", "sho"), prefix=True)]),
        ("resnet-50 snake_case", [Term(("resnet", "50")), Term(("snake", "case"))]),
        ("license:MIT,ISC", [Condition(FacetKind.license, ("MIT", "ISC"))]),
        ('-tag:"a, b" x', [Term(("x",)), Condition(FacetKind.tag, ("a, b",), present=False)]),
        ("https://a.b", [Term(("https", "a", "b"))]),
        ("nothing:known", [Term(("nothing", "known"))]),
        ("shape:28x28", [Condition(FacetKind.shape, ("28x28",))]),
        ("samples:10k", [Condition(FacetKind.samples, ("10^4",))]),
        ("size:1MB..1GB", [Condition(FacetKind.bytes, ("10^6", "10^7", "10^8"))]),
        ("samples:<100", [Condition(FacetKind.samples, ("0", "10^0", "10^1"))]),
        ("samples:unknown", [Condition(FacetKind.samples, ("unknown",))]),
        (r'tag:"12\" vinyl" x', [Term(("x",)), Condition(FacetKind.tag, ('12" vinyl',))]),
        (r'-tag:"\"" tag:"\\"', [Condition(FacetKind.tag, ('"',), present=False), Condition(FacetKind.tag, ("\\",))]),
        (r'tag:"C:\new" tag:a\b', [Condition(FacetKind.tag, (r"C:\new",)), Condition(FacetKind.tag, (r"a\b",))]),
        (r'"of \"shoes\""', [Term(("of", "shoes"))]),
        (r'"never ends\"', [Term(("never",)), Term(("ends",))]),
        ("a\x01b", [Term(("a", "b"))]),
        ("", []),
    ],
)
def test_what_a_text_asks(text: str, parts: list[Term | Condition]) -> None:
    assert said(text) == parts
    assert not Question.parse(text).void


@pytest.mark.parametrize("text", ["samples:5", "samples:many", "samples:<1..10", "samples:>=" + "9" * 30])
def test_a_size_that_no_class_begins_at_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="a size in a question cannot be read"):
        Question.parse(text)


@pytest.mark.parametrize("text", ["a" * (MAX_TEXT + 1), "a " * 17, "tag:a " * 17])
def test_a_question_is_bounded(text: str) -> None:
    with pytest.raises(UsageError, match=r"a question (is too long|has too many parts)"):
        Question.parse(text)


def test_a_schema_must_have_an_address() -> None:
    with pytest.raises(UsageError, match="has no address"):
        Question.parse("compatible:mnist")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kind:entry", "dataset, schema, lens"),
        ("-kind:dataset,entry", "dataset, schema, lens"),
        ("digests:maybe", "all, some, none"),
        ("publisher:alice", "a DID"),
    ],
)
def test_what_can_be_no_value_of_a_key_is_refused_and_it_is_said_what_can(text: str, expected: str) -> None:
    with pytest.raises(UsageError, match=f"in a question[\\s\\S]*{expected}"):
        Question.parse(f"retina {text}")


def test_what_holds_no_word_asks_for_nothing() -> None:
    assert Question.parse("!!! ?").void


@pytest.mark.parametrize("text", ["\0", "retina \0", 'tag:"a\0"'])
def test_a_nul_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NUL"):
        Question.parse(text)


VALUES = st.text(max_size=100) | st.text('"\\ab *,:-', max_size=20)


@given(VALUES, VALUES)
def test_a_condition_that_is_written_is_read_as_it_was(value: str, other: str) -> None:
    first, second = written("tag", value), written("field", other)
    for text, meant in ((first, value), (second, other)):
        assert (text is None) == ("\0" in meant or not meant.strip())
    found = " ".join(filter(None, ["before", first, second, "after"]))
    conditions = [
        Condition(kind, (meant,))
        for kind, meant, text in ((FacetKind.tag, value, first), (FacetKind.field, other, second))
        if text is not None
    ]
    question, pieces = Question.parse(found), pieces_of(found)
    assert question.conditions == tuple(conditions)
    assert question.terms == (Term(("before",)), Term(("after",)))
    assert [piece.values for piece in pieces if piece.key] == [each.values for each in conditions]
    assert " ".join(piece.text for piece in pieces) == found


@given(st.text())
def test_any_text_is_a_question_or_refused(text: str) -> None:
    try:
        question = Question.parse(text)
    except UsageError:
        return
    assert all(term.words for term in question.terms)
    assert all(condition.tokens for condition in question.conditions)


@pytest.mark.parametrize(
    ("text", "licenses"),
    [
        ("MIT", ["MIT"]),
        ("(MIT OR Apache-2.0) AND CC-BY-4.0", ["MIT", "Apache-2.0", "CC-BY-4.0"]),
        ("GPL-2.0-or-later WITH Classpath-exception-2.0", ["GPL-2.0-or-later"]),
        ("https://creativecommons.org/licenses/by-nc/4.0/", ["CC-BY-NC-4.0"]),
        ("https://creativecommons.org/licenses/by/4.0/deed.de", ["CC-BY-4.0"]),
        ("http://www.creativecommons.org/publicdomain/zero/1.0", ["CC0-1.0"]),
        ("https://spdx.org/licenses/BSD-3-Clause.html", ["BSD-3-Clause"]),
        ("https://example.org/terms", ["https://example.org/terms"]),
        ("https://[::1", ["https://[::1"]),
        ("ask us", ["ask us"]),
        ("  ", []),
    ],
)
def test_licenses_in_an_expression(text: str, licenses: list[str]) -> None:
    assert licenses_in(text) == licenses


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("CC-BY-NC-SA-4.0", "CC-BY-NC-SA"),
        ("GPL-3.0-or-later", "GPL"),
        ("BSD-3-Clause", "BSD"),
        ("MIT", "MIT"),
        ("CC0-1.0", "CC0"),
        ("0BSD", "0BSD"),
        ("ask us", "ask us"),
    ],
)
def test_families_of_licenses(name: str, family: str) -> None:
    assert family_of(name) == family


@given(st.integers(0, 10**18), st.integers(0, 18), st.integers(0, 18))
def test_a_size_is_in_the_classes_between_two_powers_exactly_if_it_is_between_them(n: int, low: int, high: int) -> None:
    classes = set(size_classes(10**low, 10**high))
    assert (size_class(n) in classes) == (10**low <= n < 10**high)
    assert (size_class(n) in set(size_classes(0, 10**high))) == (n < 10**high)
    one = with_open_end(sorted(size_classes(10**low, None)))
    assert one == [f">=10^{low}"]
    assert (one[0] in at_least(size_class(n))) == (n >= 10**low)
    assert with_open_end([*classes, UNKNOWN]) == [*classes, UNKNOWN]


def test_an_open_end_stands_beside_other_classes() -> None:
    assert with_open_end(["unknown", "10^3", *size_classes(10**17, None)]) == ["unknown", "10^3", ">=10^17"]
    assert (list(at_least("0")), list(at_least("unknown"))) == ([], [])
