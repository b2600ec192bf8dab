"""What every importer's test checks: samples come back from shards as they went in."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from atdata.dataset import write_samples
from atdata.importers import Imported, open_path
from atdata.samples import fields_of
from atdata.schema import from_json_schema, schema_of, to_json_schema, type_of


@pytest.fixture
def checked(tmp_path: Path) -> Callable[[Imported], tuple[Imported, list[Any]]]:
    """Give what was imported with its samples; a second pass, shards and the schema all agree with the first."""

    def check(result: Imported) -> tuple[Imported, list[Any]]:
        samples = list(result.samples())
        assert result.count == len(samples)
        assert list(result.samples()) == samples
        assert all(type(sample) is result.sample_type for sample in samples)
        stored = write_samples(result.samples(), tmp_path / "round-trip-%06d.tar", overwrite=True)
        assert list(stored) == samples
        written, _ = to_json_schema(schema_of(result.sample_type))
        if "longdouble" not in str(fields_of(result.sample_type)):  # which the schema leaves open
            assert type_of(from_json_schema(result.sample_type.__name__, written)) is result.sample_type
        return result, samples

    return check


@pytest.fixture
def imported(checked: Any) -> Callable[[Path | str], tuple[Imported, list[Any]]]:
    """Open a path, and check what came."""

    def open_and_check(path: Path | str) -> tuple[Imported, list[Any]]:
        result, samples = checked(open_path(path, "Row"))
        assert result.sample_type.__name__ == "Row"
        return result, samples

    return open_and_check


@pytest.fixture
def types_of() -> Callable[[Imported], dict[str, str]]:
    """The fields of the inferred type, as people write them."""
    return lambda result: {field.name: str(field.type) for field in fields_of(result.sample_type)}
