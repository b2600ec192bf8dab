"""AnnData: each cell as a sample of its row of X and of its columns in `obs`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from atdata.errors import MissingExtraError, SampleError, UsageError
from atdata.importers.files import Snapshot, decoding
from atdata.importers.frames import from_pandas
from atdata.importers.imported import Imported
from atdata.importers.rows import import_values
from atdata.importers.wanted import Wanted
from atdata.loading.splits import split_of
from atdata.samples import Array, FieldType, Shape, fields_of
from atdata.samples.kinds.sparse import SparseOf

_ROWS = 256  # at once


def from_anndata(
    data: str | os.PathLike[str] | Any,
    *,
    sample_type: type | None = None,
    schema: Mapping[str, Any] | None = None,
    name: str = "Cell",
) -> Imported:
    """The cells of an AnnData file as samples: `x`, `obs_name`, and a field for each column of `obs`.

    `x` is the cell's row of X: an array of one dimension, or a sparse matrix of one row where X is sparse. Columns of
    categories hold classes with names. A file is read some rows at a time; layers, `obsm`, `uns` and what is said of
    variables are left out, which a note says.

    Args:
        data: the path of a `.h5ad` file, or an `anndata.AnnData`.
        sample_type: as for `atdata.open`.
        schema: as for `atdata.open`.
        name: what to call the inferred type.

    Raises:
        MissingExtraError: anndata is not installed.
        SampleError: the file is damaged, or a column of `obs` is of no one type.
        UsageError: there are no cells.
        StorageError: the file may not be read.
    """
    wanted = Wanted.of(name, sample_type, schema)
    if not isinstance(data, str | os.PathLike):
        if not isinstance(data, _anndata().AnnData):
            raise UsageError("this is no AnnData", expected="a path or an AnnData", actual=type(data).__name__)
        return _import(data, wanted, "AnnData", Snapshot.of([]), "train")
    return open_h5ad(Path(data), wanted)


def open_h5ad(path: Path, wanted: Wanted) -> Imported:
    """The cells of a file; see `from_anndata`."""
    files = Snapshot.of([path])
    hint = "Write it again with anndata.write_h5ad."
    with decoding(path, "an AnnData file is malformed", (Exception,), hint):
        opened = _anndata().read_h5ad(path, backed="r")
    return _import(opened, wanted, str(path), files, split_of((path.name,)))


def _import(data: Any, wanted: Wanted, uri: str, files: Snapshot, split: str) -> Imported:
    if not data.n_obs:
        raise UsageError("there are no cells", uri=uri)
    index = "obs_name"
    while index in data.obs:
        index = f"{index}_"
    frame = data.obs.reset_index(names=index)
    obs = from_pandas(frame, name="Obs", schema={key: kind for key, kind in wanted.schema.items() if key in frame})
    columns = [(each.name, each.type) for each in fields_of(obs.sample_type)]
    kind = _kind(data, uri)
    fields = columns if kind is None else [("x", kind), *columns]
    notes = list(obs.notes)
    left = [each for each in ("layers", "obsm", "obsp", "uns", "varm", "varp") if len(getattr(data, each))]
    notes += [f"left out: {', '.join(left)}"] if left else []
    if kind is not None:
        notes.append(f"left out: what is said of the {data.n_vars} variables, which are the items of x in their order")

    def read(_: str) -> Iterator[list[Any]]:
        rows: Iterator[Any] = iter([]) if kind is None else _rows(data, kind)
        for row in obs:
            values = [getattr(row, column) for column, _ in columns]
            yield values if kind is None else [next(rows), *values]

    return import_values("AnnData", wanted, fields, read, uri=uri, counts={split: data.n_obs}, files=files, notes=notes)


def _kind(data: Any, uri: str) -> FieldType | None:
    """The kind of field for rows of X; `None` where there is no X."""
    matrix = _matrix(data)
    if matrix is None:
        return None
    first = matrix[:1]
    if hasattr(first, "tocsr"):
        return SparseOf("csr_array")
    array = np.asarray(first)
    if array.dtype.kind not in "biufc":
        raise SampleError("X holds no numbers", uri=uri, path="x", actual=array.dtype)
    return Array(array.dtype.type, Shape(data.n_vars))


def _matrix(data: Any) -> Any:
    try:
        return data.X
    except KeyError:  # of a file that has none
        return None


def _rows(data: Any, kind: FieldType) -> Iterator[Any]:
    for start in range(0, data.n_obs, _ROWS):
        block = data.X[start : start + _ROWS]
        if isinstance(kind, Array):
            yield from np.asarray(block)
            continue
        block = block.tocsr()
        make = SparseOf("csr_array").annotation(lambda *_: object)
        for number in range(block.shape[0]):
            yield make(block[[number]])


@lru_cache(maxsize=1)
def _anndata() -> Any:
    try:
        import anndata
    except ImportError as error:
        raise MissingExtraError.of("anndata", "reading AnnData") from error
    return anndata
