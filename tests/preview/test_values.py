"""Promise: every value is shown as what it is, in bounded space, whatever it is."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL.Image
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import atdata
from atdata.preview import PreviewLimits, SampleShower, ShownValue
from atdata.samples.codec import pack
from atdata.samples.space import SampleSpace
from support.kinds import TABLE, sample_type

LIMITS = PreviewLimits()


def show(value: Any, limits: PreviewLimits = LIMITS) -> ShownValue:
    return SampleShower(limits).value(value)


def check_bounded(shown: ShownValue, limits: PreviewLimits = LIMITS) -> None:
    assert 0 < len(shown.text) <= max(limits.text, 200) or shown.sort == "text"
    assert shown.text.isprintable() or "\u3000" in shown.text or "\u00a0" in shown.text
    assert len(shown.line) < 3000
    assert set(shown.line) <= set("ML0123456789. ")
    if shown.picture is not None:
        picture = PIL.Image.open(io.BytesIO(shown.picture.png))
        assert picture.format == "PNG"
        assert picture.size == (shown.picture.width, shown.picture.height)
        assert max(picture.size) <= limits.side


def png(width: int, height: int, body: bytes = b"\0" * 64) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("name", TABLE)
def test_values_of_each_kind_are_shown(name: str):
    kind, space = sample_type(name), SampleSpace(sample_type(name))
    shower = SampleShower(LIMITS)
    for number in range(40):
        sample = kind.from_bytes(pack(space.sample(number, "shown")))
        shown = shower.show(number, sample)
        assert [name for name, _ in shown.values] == ["n", "value"]
        for _, value in shown.values:
            check_bounded(value)
            assert "cannot be shown" not in value.why


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_value_of_any_kind_is_shown(data: st.DataObject):
    name = data.draw(st.sampled_from(sorted(TABLE)))
    value = data.draw(TABLE[name].values)
    shown = show(value)
    check_bounded(shown)
    assert "cannot be shown" not in shown.why


@pytest.mark.parametrize(
    ("value", "sort", "text"),
    [
        (None, "missing", "none"),
        (float("nan"), "number", "NaN"),
        (float("-inf"), "number", "-inf"),
        (np.float32(0.1), "number", "0.1"),
        pytest.param(10**5000, "number", "a number of thousands of digits", id="a huge number"),
        (True, "number", "True"),
        ("<script>", "text", "<script>"),
        ("right\u202eleft\n", "text", "right\\u202eleft\\n"),
        (b"\0\1", "bytes", "2 bytes: 00 01"),
        (b"", "bytes", "0 bytes"),
        (np.zeros(0), "array", "float64, 0"),
        (np.array("x"), "array", "<U1, a single value"),
        (np.array([1, np.nan, 3]), "array", "float64, 3; least 1, greatest 3, mean 2, 1 NaN"),
        ({"a": [1, None, {"b": np.zeros((2, 3))}]}, "nested", "{a: [1, none, {b: float64 [2, 3]}]}"),
        ([[[[[[[[1]]]]]]]], "nested", "[[[[[[…]]]]]]"),
        (object(), "other", "object"),
    ],
)
def test_a_value_is_shown_as_what_it_is(value: Any, sort: str, text: str):
    shown = show(value)
    assert (shown.sort, shown.text) == (sort, text)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((8, 9), np.uint8),
        np.zeros((8, 9, 1), np.uint8),
        np.zeros((8, 9, 3), np.float32),
        np.zeros((8, 9, 4), np.uint16),
        np.zeros((3, 8, 9), np.uint8),
        np.full((8, 9), np.nan),
        np.array([[1e308, -1e308, np.inf, 0]] * 4),
    ],
    ids=lambda array: f"{array.dtype}{array.shape}",
)
def test_arrays_that_look_like_pictures_are_pictures(array: np.ndarray):
    shown = show(array)
    assert shown.sort == "picture"
    check_bounded(shown)
    assert str(array.dtype) in shown.text


def test_a_picture_keeps_its_colours_and_its_channels():
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    for value in (red, np.moveaxis(red, 2, 0), atdata.Image(red), atdata.Image(red).data):
        picture = show(value).picture
        assert picture is not None
        assert PIL.Image.open(io.BytesIO(picture.png)).convert("RGB").getpixel((4, 4)) == (255, 0, 0)


def test_rows_of_numbers_are_lines_with_gaps_where_they_are_none():
    assert show(np.array([0.0, 1.0])).line == "M1.5 22.5L118.5 1.5"
    assert show([0, 5]).line == "M1.5 22.5L118.5 1.5"
    assert show(np.array([0, 1, np.nan, 1, 0])).line.count("M") == 2
    assert show(np.ones(3)).line.count("12.0") == 3
    for none in (np.zeros(1), np.array([np.nan, 1.0]), np.zeros((2, 2)), np.array(["a", "b"]), [True, False], ["a"]):
        assert show(none).line == ""


def test_pictures_are_decoded_only_where_their_header_says_that_they_are_small():
    for size in ((1 << 30, 1), (100_000, 100_000), (9000, 9000), (5000, 4000)):
        shown = show(png(*size))
        assert (shown.sort, shown.picture) == ("bytes", None)
        assert "more pixels" in shown.why
    assert "cannot be decoded" in show(png(9, 9, b"")[:60]).why
    assert "cannot be decoded" in show(b"\xff\xd8\xff" + b"\0" * 40).why
    limits = PreviewLimits(encoded=100)
    assert "not shown" in show(b"\x89PNG\r\n\x1a\n" + b"\0" * 200, limits).why


def test_large_values_take_little():
    limits = PreviewLimits(numbers=1000)
    assert show(np.zeros((3000, 4000), np.float32), limits).picture is not None
    assert show(np.arange(10_000_000), limits).text.endswith("of a part")
    assert len(show("x" * 10_000_000).text) == LIMITS.text
    assert len(show(["y" * 10_000_000] * 100).text) == LIMITS.text
    assert len(show({str(number): number for number in range(100_000)}).text) == LIMITS.text


def test_pictures_of_a_page_are_bounded_together():
    noise = np.random.default_rng(0).integers(0, 255, (96, 96, 3), np.uint8)
    shower = SampleShower(PreviewLimits(pictures=100_000))
    shown = [shower.value(noise) for _ in range(10)]
    assert sum(len(value.picture.png) for value in shown if value.picture) < 100_000 + 40_000
    assert "enough" in shown[-1].why
    assert shown[-1].text == shown[0].text


def test_fields_of_a_sample_are_bounded():
    shown = SampleShower(PreviewLimits(fields=3)).show(7, {f"f{number}\u202e": number for number in range(10)})
    assert ([name for name, _ in shown.values], shown.more) == (["f0\\u202e", "f1\\u202e", "f2\\u202e"], 7)
