"""Promise: on every index, an argument of another type than is taken is a typed error that names it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import atdata
from atdata.errors import AtdataError, UsageError


@atdata.packable
class Row:
    n: int


def test_arguments_of_another_type(index: Any, tmp_path: Path) -> None:
    dataset = atdata.write_samples([Row(1)], tmp_path / "a.tar")
    entry = index.insert_dataset(dataset, name="rows", version="1.0.0")
    for call in (
        lambda: index.get_dataset(3),
        lambda: index.get_entry_by_name(3),
        lambda: index.get_label(3),
        lambda: index.load(3),
        lambda: index.open("rows"),
        lambda: index.dataset("rows"),
        lambda: index.labels_of("rows"),
        lambda: index.add_label("rows", name="others"),
        lambda: index.history(3),
        lambda: index.diff(3, "rows"),
        lambda: index.diff("rows", None),
        lambda: index.append(3, dataset),
        lambda: index.append("rows", dataset, split=3),
        lambda: index.append("rows", dataset, notes=3),
        lambda: index.remove(3),
        lambda: index.retract(3, reason="wrong"),
        lambda: index.update_dataset(3),
        lambda: index.insert_dataset(dataset, name="x", schema_version=3),
        lambda: index.list_datasets(limit="a"),
        lambda: index.list_schemas(limit=-1),
        lambda: index.list_labels(prefix=3),
        lambda: index.publish_schema(Row, version=3),
        lambda: index.publish_schema(Row, name=3),
    ):
        with pytest.raises(UsageError):
            call()
    for call in (
        lambda: index.get_schema(3),
        lambda: index.get_lens(3),
        lambda: index.find_lenses(3),
        lambda: index.publish_schema(3),
        lambda: index.load("rows", sample_type=3),
        lambda: entry.layout_for(3),
    ):
        with pytest.raises(AtdataError):
            call()
    assert [found.uri for found in index.list_datasets()] == [entry.uri]
