"""AnnData as its own library writes it: rows of X, dense or sparse, and the columns of `obs`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import atdata
from atdata.errors import MissingExtraError, SampleError, UsageError
from atdata.samples import fields_of

ad = pytest.importorskip("anndata", reason="AnnData needs the extra [anndata]")
pd = pytest.importorskip("pandas", reason="AnnData needs the extra [anndata]")
sp = pytest.importorskip("scipy.sparse", reason="AnnData needs the extra [anndata]")

GENES = 7


def cells(form: str, count: int = 300) -> Any:
    x = np.random.default_rng(0).poisson(0.5, (count, GENES)).astype(np.float32)
    obs = pd.DataFrame(
        {"kind": pd.Categorical(["T", "B", "T"] * (count // 3)), "depth": np.arange(count)},
        index=[f"cell{n}" for n in range(count)],
    )
    made = ad.AnnData({"dense": x, "csr": sp.csr_matrix(x), "csc": sp.csc_matrix(x), "none": None}[form], obs=obs)
    if form == "dense":
        made.obsm["X_pca"] = np.zeros((count, 2))
    return made


@pytest.mark.parametrize("form", ["dense", "csr", "csc"])
@pytest.mark.parametrize("in_memory", [False, True])
def test_each_cell_is_a_sample(tmp_path: Path, checked: Any, form: str, in_memory: bool) -> None:
    data = cells(form)
    data.write_h5ad(tmp_path / "cells.h5ad")
    result, samples = checked(atdata.from_anndata(data if in_memory else tmp_path / "cells.h5ad"))
    types = {field.name: str(field.type) for field in fields_of(result.sample_type)}
    x = f"NDArray[float32] [{GENES}]" if form == "dense" else "csr_array"
    assert types == {"x": x, "obs_name": "str", "kind": "ClassLabel[B, T]", "depth": "int"}
    assert [s.obs_name for s in samples] == list(data.obs_names)
    assert [s.kind for s in samples[:3]] == [1, 0, 1]
    rows = [s.x if form == "dense" else s.x.toarray()[0] for s in samples]
    assert np.array_equal(np.stack(rows), data.X if form == "dense" else data.X.toarray())
    assert ("left out: obsm" in result.notes) == (form == "dense")
    pasted: dict[str, Any] = {"__name__": "pasted"}
    exec(compile(result.declaration, "pasted", "exec", dont_inherit=True), pasted)
    assert {field.name: str(field.type) for field in fields_of(pasted["Cell"])} == types


def test_without_x_there_is_obs(tmp_path: Path, checked: Any) -> None:
    cells("none").write_h5ad(tmp_path / "x.h5ad")
    _, samples = checked(atdata.from_anndata(tmp_path / "x.h5ad"))
    assert (samples[4].obs_name, samples[4].depth) == ("cell4", 4)
    assert list(atdata.open(tmp_path / "x.h5ad", name="Cell")) == samples


@atdata.packable
class Cell:
    obs_name: str
    depth: float


def test_a_type_of_ones_own(tmp_path: Path) -> None:
    source = atdata.from_anndata(cells("csr"), sample_type=Cell)
    assert source.head(1) == [Cell("cell0", 0.0)]


def test_what_is_no_anndata(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.h5ad").write_bytes(b"no HDF5 here")
    with pytest.raises(SampleError, match="malformed") as caught:
        atdata.from_anndata(tmp_path / "x.h5ad")
    assert caught.value.uri == str(tmp_path / "x.h5ad")
    with pytest.raises(UsageError, match="no AnnData"):
        atdata.from_anndata([1])
    from atdata.importers import cells as importer

    importer._anndata.cache_clear()
    monkeypatch.setitem(sys.modules, "anndata", None)
    with pytest.raises(MissingExtraError, match=r"\[anndata\]"):
        atdata.from_anndata(tmp_path / "x.h5ad")


def test_a_column_called_as_the_names_of_cells_are(checked: Any) -> None:
    obs = pd.DataFrame({"obs_name": [1, 2], "x": [3, 4]}, index=["a", "b"])
    _, samples = checked(atdata.from_anndata(ad.AnnData(np.eye(2, dtype=np.float32), obs=obs)))
    assert [(s.obs_name, s.obs_name_, s.x_2) for s in samples] == [(1, "a", 3), (2, "b", 4)]
