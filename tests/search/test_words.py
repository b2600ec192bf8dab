"""Texts are cut into words by one rule, and what is found of them is bounded."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.search import words
from atdata.search.words import MAX_WORD, SEPARATOR, folded, indexed_words, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Fashion-MNIST, 28x28!", ["fashion", "mnist", "28x28"]),
        ("snake_case  CamelCase", ["snake", "case", "camelcase"]),
        ("STRASSE Straße \ufb01ne \u212b", ["strasse", "strasse", "fine", "\xe5"]),
        ("2²", ["22"]),
        ("学习 data 一", ["学", "习", "data", "一"]),
        ("क्षेत्र", ["क्षेत्र"]),
        ("it's \x00 \"quoted\" 'or' *", ["it", "s", "quoted", "or"]),
        ("... --- !!!", []),
    ],
)
def test_words(text: str, words: list[str]) -> None:
    assert words_of(text, 100) == words
    assert indexed_words(text, 100)[: len(words)] == words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("ResNet50 layers", "resnet50 layers _ res net 50"),
        ("HTTPServer", "httpserver _ http server"),
        ("imageURL2x a", "imageurl2x a _ image url 2 x"),
        ("plain words", "plain words"),
    ],
)
def test_parts_of_words_stand_behind_them(text: str, words: str) -> None:
    assert " ".join(indexed_words(text, 100)) == words


@given(st.text(min_size=1, max_size=20) | st.text("aAbB1_\xe9\xc9\u01c5\xdf\xb25", min_size=1, max_size=10))
def test_what_is_not_looked_at_has_no_parts(run: str) -> None:
    assert words._may_have_parts(run) or len(list(words._parts(run))) <= 1 or len(run) > MAX_WORD


@given(st.text())
def test_a_word_is_letters_marks_and_digits_and_nothing_a_database_could_read_otherwise(text: str) -> None:
    for word in indexed_words(text, 1000):
        if word == SEPARATOR:
            continue
        assert 0 < len(word) <= MAX_WORD
        assert all(char.isalnum() or unicodedata.category(char)[0] == "M" for char in word)
        assert all(not char.isascii() or char.islower() or char.isdigit() for char in word)


@given(st.text(), st.text())
def test_words_are_found_whatever_their_composition_and_whatever_stands_beside_them(text: str, more: str) -> None:
    words = words_of(text, 1000)
    for form in ("NFC", "NFD"):
        assert words_of(unicodedata.normalize(form, text), 1000) == words
    assert indexed_words(text, 1000)[: len(words)] == words
    assert words_of(f"{text} . {more}", 2000) == [*words, *words_of(more, 1000)]


def test_texts_are_bounded() -> None:
    assert words_of("a " * 10**6, 50) == ["a"] * 50
    assert words_of("a" * 10**6, 50) == ["a" * MAX_WORD]
    assert len(indexed_words("aB " * 10**5, 50)) <= 100
    assert len(words_of("\ufdfa" * 10**6, 10**6)) <= 100_000


@given(st.text(st.characters(max_codepoint=127)), st.integers(0, 9))
def test_plain_text_is_cut_as_any_other(text: str, limit: int) -> None:
    assert list(words._runs(text, limit)) == list(words._runs_of_any(text, limit))
    assert folded(text) == unicodedata.normalize("NFKC", text).casefold()
