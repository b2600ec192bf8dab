"""The model between sample types and schema records."""

from __future__ import annotations

from dataclasses import dataclass

from atdata.samples import Field


@dataclass(frozen=True)
class SampleSchema:
    """A sample type as data: its name and its fields, in order."""

    name: str
    fields: tuple[Field, ...]

    def __str__(self) -> str:
        return "\n".join([f"{self.name}:", *(f"  {field}" for field in self.fields)])
