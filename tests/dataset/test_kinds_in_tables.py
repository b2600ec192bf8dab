"""Every kind of field in tables, and out of them again through the same type."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st

import atdata
from atdata.errors import SampleError
from atdata.samples.rows import from_rows
from support.kinds import TABLE, bits, sample_type

few = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


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
