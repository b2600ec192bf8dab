"""Every kind of field in tables, and out of them again through the same type."""

from __future__ import annotations

import datetime as dt
import enum
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse

import atdata
from atdata.errors import SampleError
from atdata.samples.rows import from_rows
from support import MANY
from support.kinds import TABLE, bits, sample_type

few = settings(
    max_examples=10 if MANY else 4, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """The rows of a frame with their values as they are: `to_dict` and `itertuples` make moments of pandas of them."""
    return [dict(zip(frame, row, strict=True)) for row in zip(*(frame[name].array for name in frame), strict=True)]


ROADS = {
    "arrow": lambda ds, folder: ds.to_arrow().to_pylist(),
    "pandas": lambda ds, folder: records(ds.to_pandas()),
    "polars": lambda ds, folder: ds.to_polars().iter_rows(named=True),
    "parquet": lambda ds, folder: pq.read_table(ds.to_parquet(folder / "a.parquet", overwrite=True)[0]).to_pylist(),
}


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("name", TABLE)
@few
@given(data=st.data())
def test_there_and_back(name: str, road: str, data: st.DataObject, tmp_path: Path) -> None:
    drawn = data.draw(st.lists(TABLE[name].values, min_size=1, max_size=5))
    kind = sample_type(name)
    ds = atdata.write_samples([kind(n, value) for n, value in enumerate(drawn)], tmp_path / "a.tar", overwrite=True)
    back = list(from_rows(kind, ROADS[road](ds.as_type(kind), tmp_path)))
    assert [bits(sample.value) for sample in back] == list(map(bits, drawn))


IMPORTS = {
    "arrow": lambda ds, folder, kind: atdata.from_arrow(ds.to_arrow(), sample_type=kind),
    "pandas": lambda ds, folder, kind: atdata.from_pandas(ds.to_pandas(), sample_type=kind),
    "polars": lambda ds, folder, kind: atdata.from_polars(ds.to_polars(), sample_type=kind),
    "parquet": lambda ds, folder, kind: atdata.from_parquet(
        ds.to_parquet(folder / "a.parquet", overwrite=True)[0], sample_type=kind
    ),
}


@pytest.mark.parametrize("road", IMPORTS)
@pytest.mark.parametrize("name", TABLE)
@settings(few, max_examples=4 if MANY else 2)
@given(data=st.data())
def test_importing_a_table_as_the_type_it_was_made_of(
    name: str, road: str, data: st.DataObject, tmp_path: Path
) -> None:
    drawn = data.draw(st.lists(TABLE[name].values, min_size=1, max_size=5))
    kind = sample_type(name)
    ds = atdata.write_samples([kind(n, value) for n, value in enumerate(drawn)], tmp_path / "a.tar", overwrite=True)
    back = list(IMPORTS[road](ds.as_type(kind), tmp_path, kind))
    assert [bits(sample.value) for sample in back] == list(map(bits, drawn))
    assert str(ds.as_type(kind).describe())


class Mark(enum.Enum):
    NONE, SOME = "", "x"


@atdata.packable
class Part:
    many: NDArray[Any]
    at: dt.timedelta


@atdata.packable
class Odd:
    mark: Mark
    share: float
    texts: NDArray[np.str_]
    bytes: NDArray[np.bytes_]
    days: list[NDArray[np.datetime64]]
    steps: NDArray[np.datetime64]
    parts: dict[str, Part]
    moments: list[dt.datetime]


@pytest.mark.parametrize("road", IMPORTS)
def test_values_that_look_like_none_or_like_others_come_back(road: str, tmp_path: Path) -> None:
    """Empty text, NaN, texts with NUL in them, dicts of other keys in each row, moments with and without an offset."""
    part, days = Part(np.arange(3), dt.timedelta(days=9)), np.array(["2026-01-01", "NaT"], "M8[D]")
    samples = [
        Odd(
            mark,
            nan,
            np.array(["a\0b", "c"]),
            np.array([b"a\0b", b"c"]),
            [days] * n,
            days[:1].astype("M8[us]"),
            parts,
            at,
        )
        for n, (mark, nan, parts, at) in enumerate(
            [
                (
                    Mark.NONE,
                    float("nan"),
                    {"a": part},
                    [dt.datetime(2026, 1, 1), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)],
                ),
                (Mark.SOME, 0.5, {"": part, "b": part}, []),
                (Mark.NONE, -0.0, {}, [dt.datetime(2026, 1, 1)]),
            ]
        )
    ]
    ds: Any = atdata.write_samples(samples, tmp_path / "a.tar").as_type(Odd)
    assert list(IMPORTS[road](ds, tmp_path, Odd)) == samples


def test_moments_in_steps_are_the_same_moments(tmp_path: Path) -> None:
    @atdata.packable
    class Stepped:
        at: NDArray[np.datetime64]
        inner: list[NDArray[np.datetime64]]

    at = np.array([1, 2], "M8[25s]")
    table = atdata.write_samples([Stepped(at, [at])], tmp_path / "a.tar").as_type(Stepped).to_arrow()
    moments = [dt.datetime(1970, 1, 1, 0, 0, 25), dt.datetime(1970, 1, 1, 0, 0, 50)]
    assert table.to_pylist() == [{"at": moments, "inner": [moments]}]


def test_what_has_no_order_or_no_length_is_described(tmp_path: Path) -> None:
    @atdata.packable
    class Undescribed:
        number: Decimal
        matrix: sparse.csr_array

    samples = [Undescribed(Decimal(text), sparse.csr_array(np.eye(2))) for text in ("1", "NaN", "sNaN")]
    described = atdata.write_samples(samples, tmp_path / "a.tar").as_type(Undescribed).describe()
    assert described["matrix"].facts == {"shape": "float64[2, 2]"}
    assert described["number"].count == 3


def test_cells_have_the_types_of_arrow(tmp_path: Path) -> None:
    """The table on the page docs/samples.md."""
    expected = {
        "naive datetime": "timestamp[us]", "date": "date32[day]", "time": "time64[us]", "Decimal": "string",
        "UUID": "string", "Enum of text": "string", "Enum of ints": "int64", "Literal": "string", "ClassLabel": "int64",
        "Image": "binary", "variadic tuple": "list<item: int64>", "csr_array": "binary", "pandas.DataFrame": "binary",
        "tuple": "struct<0: int64, 1: string, 2: double>", "structured": "binary", "timedelta": "duration[us]",
    }  # fmt: skip
    given = {"timedelta": [dt.timedelta(1)], "time": [dt.time(1)]}
    for name, arrow in expected.items():
        values = given.get(name) or [find(TABLE[name].values, lambda _: True)]
        kind = sample_type(name)
        ds = atdata.write_samples([kind(0, value) for value in values], tmp_path / "a.tar", overwrite=True)
        assert str(ds.as_type(kind).to_arrow().schema.field("value").type) == arrow


def test_moments_of_several_offsets_stay_text(tmp_path: Path) -> None:
    kind, utc = sample_type("datetime"), dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    other = utc.astimezone(dt.timezone(dt.timedelta(hours=5, minutes=45)))
    for values, arrow in (([utc], "timestamp[us, tz=UTC]"), ([utc, other], "string"), ([other], "string")):
        samples = [kind(n, value) for n, value in enumerate(values * 300)]  # several batches
        ds = atdata.write_samples(samples, tmp_path / "a.tar", overwrite=True).as_type(kind)
        assert str(ds.to_arrow().schema.field("value").type) == arrow
        assert list(from_rows(kind, ds.to_arrow().to_pylist())) == samples


def test_a_cell_that_does_not_fit_is_named() -> None:
    with pytest.raises(SampleError) as caught:
        list(from_rows(sample_type("Decimal"), [{"n": 1, "value": "1"}, {"n": 2, "value": "x"}]))
    assert caught.value.path == "[1].value"
    with pytest.raises(SampleError) as caught:
        list(from_rows(sample_type("date"), [{"n": 1}]))
    assert caught.value.path == "[0].value"
