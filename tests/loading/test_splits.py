"""Splits: told by the names of folders and files, and found under any of their names."""

from __future__ import annotations

from string import ascii_letters

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.errors import UsageError
from atdata.loading.splits import SPLITS, by_split, canonical, find_split, split_of

WORDS = {word: split for split, words in SPLITS.items() for word in words}

words = st.sampled_from(sorted(WORDS))
cased = words.flatmap(lambda word: st.sampled_from([word, word.upper(), word.title()]))
marks = st.text("-._ 0123456789+()=", min_size=1, max_size=4)
letters = st.text(ascii_letters + "éßжſıİK数", min_size=1, max_size=4)
silent = st.text("xyz0123456789-._ é数", max_size=8)  # no word can be made of these


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train-000.tar", "train"),
        ("train.tar", "train"),
        ("my_train_data-01.tar", "train"),
        ("data/train/000.tar", "train"),
        ("data/training/000.tar", "train"),
        ("train2.tar", "train"),
        ("000.tar", "train"),
        ("trainer.tar", "train"),
        ("test-000.tar", "test"),
        ("evaluation/000.tar", "test"),
        ("eval_00.tar", "test"),
        ("my testing 1.tar", "test"),
        ("latest.tar", "train"),
        ("contest-1.tar", "train"),
        ("tests/0.tar", "train"),
        ("VAL-000.tar", "validation"),
        ("dev/000.tar", "validation"),
        ("valid.0.tar", "validation"),
        ("my-dev-data/000.tar", "validation"),
        ("device-0.tar", "train"),
        ("interval-0.tar", "train"),
        ("test/train-labels.tar", "test"),  # a folder says more than a file's name
        ("test/train/000.tar", "train"),  # the nearest folder most
        ("train-test.tar", "train"),  # of several words the first
        ("", "train"),
    ],
)
def test_the_names_that_people_give(path: str, split: str) -> None:
    assert split_of(path.split("/")) == split


@given(cased, silent, silent, marks, marks)
def test_a_word_that_stands_alone_is_found_anywhere(word: str, before: str, after: str, left: str, right: str) -> None:
    name = f"{before + left if before else ''}{word}{right + after if after else ''}.tar"
    assert split_of([name]) == WORDS[word.lower()]
    assert split_of([name, "0.tar"]) == WORDS[word.lower()]


@given(words, letters, letters)
def test_a_word_in_a_word_is_none(word: str, before: str, after: str) -> None:
    for name in (before + word, word + after, before + word + after):
        if name.lower() not in WORDS:
            assert split_of([f"{name}.tar"]) == "train"


@given(st.lists(st.text(max_size=12), max_size=4))
def test_no_name_is_too_strange(parts: list[str]) -> None:
    assert split_of(parts) in SPLITS
    assert sum(map(len, by_split([("a", tuple(parts)), ("b", ())]).values())) == 2


def test_splits_come_in_an_order_of_their_own_and_shards_in_the_given_one() -> None:
    shards = [("3", ("test.tar",)), ("2", ("b.tar",)), ("1", ("a.tar",)), ("0", ("val.tar",))]
    assert list(by_split(shards).items()) == [("train", ["2", "1"]), ("validation", ["0"]), ("test", ["3"])]


@given(words, words)
def test_a_split_is_found_under_any_of_its_names(there: str, asked: str) -> None:
    splits = {there: 1, "extra": 2}
    if canonical(there) == canonical(asked):
        assert find_split(splits, asked) == there
    else:
        with pytest.raises(ValueError, match="no split") as caught:
            find_split(splits, asked)
        assert there in str(caught.value)
        assert "extra" in str(caught.value)


def test_the_very_name_wins_and_several_others_are_a_question() -> None:
    splits = {"val": 1, "dev": 2}
    assert find_split(splits, "dev") == "dev"
    with pytest.raises(UsageError, match="ambiguous: 'validation'"):
        find_split(splits, "validation")


def test_a_typing_error_is_answered() -> None:
    with pytest.raises(UsageError, match="Did you mean 'train'"):
        find_split({"train": 1, "test": 2}, "trian")
