"""Laws of lenses between types with frames and sparse matrices: libraries write and read each value once, and what is changed
in place is seen all the same.
"""

from __future__ import annotations

import threading
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp

from atdata.lens import DataLens, Lens, Program, check_laws
from atdata.lens.watched import Breach, Watched
from atdata.samples import fields_of, packable
from atdata.samples.kinds import costly
from atdata.samples.kinds.costly import Costly, remembering
from atdata.samples.kinds.frames import FrameOf
from atdata.samples.kinds.sparse import SparseOf
from atdata.samples.space import SampleSpace


@packable
class Held:
    pandas: pd.DataFrame
    polars: pl.DataFrame
    sparse: sp.sparray
    several: list[pd.DataFrame]


@packable
class Named:
    pandas: pd.DataFrame
    polars: pl.DataFrame
    matrix: sp.sparray
    several: list[pd.DataFrame]


def renaming() -> DataLens[Any, Any]:
    return DataLens(Program.of({"op": "rename", "field": "sparse", "to": "matrix"}), Held, Named)


def held() -> Held:
    frame = pd.DataFrame(
        {"n": [1, 2], "text": ["a", None], "dicts": [{"a": 1}, {"a": 2}], "at": pd.to_datetime(["2000", None])}
    )
    labelled = pd.DataFrame({"n": [1.5, -0.0]}, index=pd.Index(["x", "y"], name="i"))
    table = pl.DataFrame({"n": [1, 2], "text": ["a", None], "lists": [[1], [2, 3]]})
    sample = Held(frame, table, sp.csr_array(np.array([[0.0, 1.0], [2.0, 0.0]])), [labelled, pd.DataFrame({"n": [1]})])
    return Held.from_bytes(sample.packed)


def frame_cell(sample: Any) -> None:
    sample.pandas.loc[0, "n"] = 9


def frame_text(sample: Any) -> None:
    sample.pandas.loc[1, "text"] = "b"


def frame_dict(sample: Any) -> None:
    sample.pandas["dicts"][1]["a"] = 9


def frame_label(sample: Any) -> None:
    sample.pandas.columns.to_numpy()[0] = "m"


def frame_column(sample: Any) -> None:
    sample.pandas["more"] = 1


def frame_attrs(sample: Any) -> None:
    sample.pandas.attrs["more"] = 1


def frame_index(sample: Any) -> None:
    sample.pandas.index = [5, 6]


def frame_in_a_list(sample: Any) -> None:
    sample.several[1].loc[0, "n"] = 9


def label_in_a_list(sample: Any) -> None:
    sample.several[1].columns.to_numpy()[0] = "m"


def sign_of_zero(sample: Any) -> None:
    sample.several[0].iloc[1, 0] = 0.0


def index_in_a_list(sample: Any) -> None:
    sample.several[0].index.to_numpy()[0] = "z"


def table_cell(sample: Any) -> None:
    sample.polars[0, "n"] = 9


def table_columns(sample: Any) -> None:
    sample.polars.columns = ["m", "text", "lists"]


def table_column(sample: Any) -> None:
    sample.polars.insert_column(0, pl.Series("more", [1, 2]))


def matrix_data(sample: Any) -> None:
    sample.sparse.data[0] = 9.0


def matrix_place(sample: Any) -> None:
    sample.sparse.indices[:] = sample.sparse.indices[::-1]


def matrix_dtype(sample: Any) -> None:
    sample.sparse.indices = sample.sparse.indices.astype("i8")


CHANGES = {
    change.__name__: change
    for change in (
        *(frame_cell, frame_text, frame_dict, frame_label, frame_column, frame_attrs, frame_index, frame_in_a_list),
        *(label_in_a_list, sign_of_zero, index_in_a_list, table_cell, table_columns, table_column, matrix_data),
        *(matrix_place, matrix_dtype),
    )
}
changes = pytest.mark.parametrize("change", CHANGES)


@changes
def test_what_is_changed_in_place_is_written_anew_and_stays_with_its_owner(change: str):
    data = held().packed
    changed = Held.from_bytes(data)
    CHANGES[change](changed)
    with remembering():
        for _ in range(3):
            sample = Held.from_bytes(data)
            assert sample.packed == data
            CHANGES[change](sample)
            assert sample.packed == changed.packed != data
        assert Held.from_bytes(data).packed == data


def breached(lens: Lens[Any, Any]) -> str:
    """The law that two calls and a last look find broken."""
    data = held().packed
    with remembering(), pytest.raises(Breach) as caught:
        watched = Watched(lens, (), {}, data)
        assert watched.get(data) == watched.get(data)
        watched.finish()
    return caught.value.law


@changes
def test_a_getter_that_changes_its_argument_in_place_is_found(change: str):
    def get(source: Held) -> Held:
        copy = Held.from_bytes(source.packed)
        CHANGES[change](source)
        return copy

    assert breached(Lens(get, source_type=Held, view_type=Held)) == "Unchanged"


@changes
def test_a_result_that_changes_later_is_found(change: str):
    last: list[Held] = []

    def get(source: Held) -> Held:
        for one in last:
            CHANGES[change](one)
        last[:] = [Held.from_bytes(source.packed)]
        return last[0]

    assert breached(Lens(get, source_type=Held, view_type=Held)) == "Unchanged"


def test_a_trial_finds_a_putter_that_changes_the_view_in_place():
    def put(view: Held, source: Held) -> Held:
        label_in_a_list(view) if len(view.several) > 1 else None
        return source

    found = check_laws(Lens(lambda s: s, put, source_type=Held, view_type=Held, name="l"), [held()]).counterexample
    assert found is not None
    assert found.law == "Unchanged"


def test_bytes_and_values_are_the_same_with_a_memory_and_without():
    space = SampleSpace(Held)
    samples = [space.sample(number, "memory") for number in range(60)]
    for field in fields_of(Held):
        for stored in (sample[field.name] for sample in samples):
            value = field.type.decoder(stored)
            again = field.type.encoder(value)
            with remembering():
                for _ in range(2):
                    remembered = field.type.decoder(stored)
                    assert type(remembered) is type(value)
                    assert field.type.encoder(remembered) == again
                    assert field.type.encoder(value) == again


def counted(monkeypatch: pytest.MonkeyPatch, kind: type[Costly], name: str) -> Counter[Any]:
    """How often each value was written or read by its library."""
    real, counts = getattr(kind, name), Counter[Any]()

    def counting(self: Any, given: Any) -> Any:
        found = real(self, given)
        counts[self, given if isinstance(given, bytes) else found] += 1
        return found

    monkeypatch.setattr(kind, name, counting)
    return counts


def test_libraries_read_each_value_once_and_write_it_a_few_times(monkeypatch: pytest.MonkeyPatch):
    SampleSpace(Held)
    written, read = (
        [counted(monkeypatch, kind, name) for kind in (FrameOf, SparseOf)] for name in ("to_bytes", "from_bytes")
    )
    assert check_laws(renaming(), count=40).verdict == "holds"
    for counts in read:
        assert set(counts.values()) == {1}
    for counts in written:  # as drawn, as read, as copied, and as it lies in a batch
        assert max(counts.values()) <= 4


def test_a_memory_that_is_full_begins_anew(monkeypatch: pytest.MonkeyPatch):
    before = check_laws(renaming(), count=5)
    monkeypatch.setattr(costly, "MOST", 3000)
    assert check_laws(renaming(), count=5) == before


def test_a_memory_ends_with_its_trial_and_is_that_of_one_thread(monkeypatch: pytest.MonkeyPatch):
    data = held().packed
    read = counted(monkeypatch, SparseOf, "from_bytes")
    with remembering(), remembering():
        for _ in range(3):
            Held.from_bytes(data)
        assert [*read.values()] == [1]
        thread = threading.Thread(target=Held.from_bytes, args=(data,))
        thread.start()
        thread.join()
        assert [*read.values()] == [2]
    Held.from_bytes(data)
    Held.from_bytes(data)
    assert [*read.values()] == [4]


def test_what_cannot_be_pickled_or_copied_is_written_and_read_each_time():
    class Own(pd.DataFrame):  # of this function, so that no pickle names it
        pass

    frame = Own({"n": [1, 2]})
    kind = FrameOf("pandas")
    with remembering():
        before = kind.encoder(frame)
        assert kind.encoder(frame) == before
        frame.loc[0, "n"] = 9
        assert kind.encoder(frame) != before
