"""Grapheme clusters, counted as `Intl.Segmenter` (ICU 78, Unicode 17) counts them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from atdata.atproto.lexicon.graphemes import grapheme_count


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("abc", 3),
        ("\r\n", 1),
        ("a\r\nb\n\rc", 6),
        ("é", 1),
        ("e\u0301", 1),
        ("\u0301", 1),
        ("\n\u0301", 2),
        ("a\u0301\u0302b", 2),
        ("👍🏽", 1),
        ("👩‍👩‍👦‍👦👩‍👩‍👦‍👦", 2),
        ("🏳️‍🌈", 1),
        ("🇩🇪🏳️‍🌈🇩🇪", 3),
        ("🇩🇪🇫🇷🇬", 3),
        ("a🇩🇪", 2),
        ("1️⃣", 1),
        ("👩\u200d", 1),
        ("👩\u200da", 2),
        ("a\u200d👩", 2),
        ("👩\u0301\u200d👩", 1),
        ("🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", 1),
        ("한국어", 3),
        ("\u1112\u1161\u11ab", 1),
        ("\uac00\u11a8\u11a8", 1),
        ("\uac01\u1161", 2),
        ("नमस्ते", 3),
        ("क्षि", 1),
        ("क्\u200cष", 2),
        ("க்ஷி", 2),
        ("กำ", 1),
        ("\u0600a", 1),
        ("\u0600\n", 2),
        ("\u200b\u200b", 2),
        ("日本語", 3),
        ("\ufeff", 1),
    ],
    ids=ascii,
)
def test_clusters(text: str, count: int) -> None:
    assert grapheme_count(text) == count


@given(st.text(), st.text())
def test_clusters_are_at_most_characters_and_add_up(left: str, right: str) -> None:
    assert (len(left) > 0) <= grapheme_count(left) <= len(left)
    # At the seam one may become part of the one before.
    assert grapheme_count(left) + grapheme_count(right) - grapheme_count(left + right) in (0, 1)


@given(st.text())
def test_a_line_end_parts_what_is_around_it(text: str) -> None:
    assert grapheme_count(f"{text}\n{text}") == 2 * grapheme_count(text) + 1 - text.endswith("\r")
