"""Promise: an argument of another type than is taken is a typed error that names it, wherever it is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.arguments import checked_text, checked_type, path_text
from atdata.errors import ArgumentTypeError, AtdataError, SampleError, UsageError
from atdata.samples import fields_of


@atdata.packable
class Digit:
    label: int


def wrong(text: str) -> Any:
    """A call by its text, as pytest shows it."""
    return pytest.param(eval(f"lambda ds, batch: {text}", globals()), id=text)


OF_ANOTHER_TYPE = [
    "ds.get(3)",
    "ds.get(None)",
    "ds.filter('label > 3')",
    "ds.filter(None)",
    "ds.map(3)",
    "ds.map(lambda row: row, sample_type=3)",
    "ds.to_parquet(3)",
    "batch[0:2]",
    "batch[3]",
    "atdata.Dataset('d-0.tar', metadata=3)",
    "atdata.Dataset('d-0.tar', cache=3)",
    "atdata.DatasetDict(3)",
    "atdata.DatasetDict({'train': 3})",
    "atdata.DictSample(3)",
    "atdata.load_dataset(3)",
    "atdata.load_dataset('d-0.tar', split=3)",
    "atdata.open(3)",
    "atdata.open('d-0.tar', schema=3)",
    "atdata.open('d-0.tar', name=3)",
    "atdata.open('d-0.tar').split(3)",
    "atdata.open('d-0.tar').write(3)",
    "atdata.infer(3)",
    "atdata.from_csv(3)",
    "atdata.from_images(None)",
    "atdata.from_images(None, pixels=True)",
    "atdata.from_webdataset(3)",
    "atdata.local.LocalIndex(3)",
    "atdata.write_samples(3, 'o.tar')",
    "atdata.write_samples([Digit(1)], None)",
]
OUT_OF_PLACE = [
    "ds['a':'b']",
    "ds[1.0:2.5]",
    "ds[::0]",
    "ds[True]",
    "atdata.Dataset('d-0.tar', samples='x')",
    "atdata.Dataset('d-0.tar', samples=-1)",
    "atdata.open('d-0.tar').head('a')",
    "atdata.open('d-0.tar').head(-1)",
    "atdata.from_polars(3)",
]


@pytest.fixture
def ds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    return atdata.write_samples([Digit(n) for n in range(10)], "d-%01d.tar", maxcount=4)


@pytest.mark.parametrize("call", [*map(wrong, OF_ANOTHER_TYPE)])
def test_another_type(ds: Any, call: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(ArgumentTypeError) as caught:
        call(ds, ds[0:4])
    assert isinstance(caught.value, TypeError)
    assert caught.value.path
    assert caught.value.what.startswith(caught.value.path)


@pytest.mark.parametrize("call", [*map(wrong, OUT_OF_PLACE)])
def test_what_cannot_be_meant(ds: Any, call: Callable[[Any, Any], Any]) -> None:
    with pytest.raises(UsageError):
        call(ds, ds[0:4])


def test_what_is_no_sample_type_and_no_bytes(ds: Any) -> None:
    for call in (
        lambda: atdata.open("d-0.tar", sample_type=3),
        lambda: fields_of(3),
        lambda: atdata.ClassLabel(names=3),
    ):
        with pytest.raises(AtdataError):
            call()
    for given in (3, "text"):
        with pytest.raises(SampleError):
            Digit.from_bytes(given)


def test_what_is_right_is_given_back() -> None:
    assert checked_text("a", "name") == "a"
    assert path_text(Path("a/b")) == path_text("a/b") == "a/b"
    assert checked_type(3, int, "number") == 3
