"""Datasets as people look at them: their fields, what the values are, the first samples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from atdata.dataset.description import Description, describe, shown_fields
from atdata.dataset.iteration import Samples
from atdata.dataset.order import Order
from atdata.dataset.reading.table import ShardTable
from atdata.dataset.view import View
from atdata.display import Card, Grid
from atdata.errors import AtdataError, UnsizedError
from atdata.numbers import checked_int
from atdata.samples import Field
from atdata.samples.preview import SHOWN, preview
from atdata.schema import SampleSchema

T = TypeVar("T")

_LIMIT = 1000


class Looks(Generic[T]):
    """The verbs by which a dataset is looked at."""

    @property
    def view(self) -> View[T]:
        """The view of the samples."""
        raise NotImplementedError

    @property
    def schema(self) -> SampleSchema:
        """The fields of the samples: their types, units and documentation. Samples without a type declare none."""
        return SampleSchema(self.view.sample_type.__name__, shown_fields(self.view))

    def describe(self, limit: int = _LIMIT) -> Description:
        """A summary of the values of each field: how many are missing, their range, lengths, shapes, the most frequent.

        Found out by the manifests of the shards, where all have one, and for other fields by the first samples. It
        says which.

        Args:
            limit: most samples to read.

        Raises:
            ShardError, DigestError, SampleError: as iteration.
        """
        return describe(self.view, repr(self), checked_int(limit, "limit", 1))

    def card(self, shown: int = SHOWN) -> Card:
        """The dataset as people look at it: its fields, and its first samples where they can be had at once."""
        view, about = self.view, self.view.about
        shards = about.shards
        digests = sum(shard.digest is not None for shard in shards)
        sizes = [shard.size for shard in shards if shard.size is not None]
        facts = {
            "samples": count(view),
            "shards": len(shards),
            "bytes": f"{sum(sizes):,}" if len(sizes) == len(shards) else None,
            "layout": about.layout and "; ".join(f"{name}: {files}" for name, files in about.layout.said().items()),
            "verified": f"each shard against its digest before it is read ({digests} of {len(shards)} have one)"
            if digests
            else "no digest is known of the shards",
        }
        grids = [fields_grid(self.schema.fields)] if self.schema.fields else []
        notes: list[str] = []
        if any(table.refs and table.shards.stat(0) is None for table in about.tables):
            notes.append("The first shard is not on this machine yet: dataset.head() fetches it and shows samples.")
        else:
            try:
                first = list(Samples(view, Order(0)).take(shown))
                grids.append(preview(first, f"first {len(first)}"))
            except AtdataError as error:
                notes.append(f"The first samples cannot be read: {error.what}.")
        return Card(repr(self), facts, grids, notes)

    def _repr_html_(self) -> str:
        return self.card().html()


def fields_grid(fields: Sequence[Field], *, whole: bool = False) -> Grid:
    """Fields of a sample type as a table."""
    documented = any(field.doc for field in fields)
    rows = [[field.name, field.shown, *([field.doc or ""] if documented else [])] for field in fields]
    return Grid(["field", "type", *(["what it is"] if documented else [])], rows, "fields", whole)


def count(view: View[Any]) -> str | None:
    """The number of samples, where no shard has to be fetched for it."""
    try:
        tables = view.about.tables
        if view.filtered or view.selection is not None or all(map(_is_known, tables)):
            return f"{len(view):,}"
        claims = [table.claimed for table in tables]
        return f"{claims[0]:,}, as its publisher says" if len(claims) == 1 and claims[0] is not None else None
    except UnsizedError:
        return "as many as the filter keeps"
    except AtdataError:
        return None


def _is_known(table: ShardTable) -> bool:
    """True if the number of samples in each shard is known, or the shard is on this machine."""
    return all(
        ref.samples is not None or table.shards.stat(number) is not None for number, ref in enumerate(table.refs)
    )
