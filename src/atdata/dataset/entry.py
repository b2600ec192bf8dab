"""The port of what an index knows of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class IndexEntry(Protocol):
    """A dataset as an index lists it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def schema_ref(self) -> str:
        """The address of the schema of its samples."""

    @property
    def data_urls(self) -> Sequence[str]:
        """The addresses of its shards, in order."""

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata that its publisher gave it."""
