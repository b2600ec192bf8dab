"""Samples out of rows of tables, as Arrow, pandas and polars give them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

from atdata.samples.kinds import Misfit
from atdata.samples.packable import fields_of, maker_of

T = TypeVar("T")


def from_rows(sample_type: type[T], rows: Iterable[Mapping[str, Any]]) -> Iterator[T]:
    """Yields the sample of each row: what `to_arrow`, `to_pandas`, `to_polars` and `to_parquet` made of samples of a type,
    its samples again.

    Args:
        sample_type: the type.
        rows: of `table.to_pylist()`, `frame.to_dict("records")` or `frame.iter_rows(named=True)`. Other columns are passed
            over.

    Raises:
        SampleError: a cell holds no value of its field; `path` names the row and the field.
    """
    fields, make = fields_of(sample_type), maker_of(sample_type)
    for number, row in enumerate(rows):
        values = {}
        for field in fields:
            try:
                if field.name in row:
                    values[field.name] = field.type.decoder(field.type.encoder(field.type.from_cell(row[field.name])))
                elif field.required:
                    raise Misfit(str(field.type), "no such column")
                else:
                    values[field.name] = field.missing()
            except (Misfit, TypeError, ValueError, KeyError, AttributeError) as error:
                misfit = (
                    error
                    if isinstance(error, Misfit)
                    else Misfit(str(field.type), f"{type(error).__name__}: {error}"[:120])
                )
                where = misfit.under(f"[{number}].{field.name}")
                raise where.as_error(f"a row is no {sample_type.__name__}") from None
        yield make(values)
