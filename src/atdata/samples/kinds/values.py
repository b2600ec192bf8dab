"""Decimal numbers and UUIDs, as text."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

from atdata.samples.kinds.kind import Build, Derived, FieldType, Misfit, Parse, described
from atdata.samples.kinds.scalars import Scalar

_DECIMAL = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,19})?|Infinity|s?NaN[0-9]*)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class DecimalNumber(Derived):
    """A `Decimal`, with all its digits and its own exponent."""

    label = "decimal"

    def __str__(self) -> str:
        return "Decimal"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        return DecimalNumber() if annotation is Decimal else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return Decimal

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("str")

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, Decimal):
            raise Misfit("Decimal", described(value))
        return str(value).replace("e", "E")  # a context may ask for small letters

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        try:
            if _DECIMAL.fullmatch(stored):
                return Decimal(stored)
        except DecimalException:  # of an exponent beyond its limits
            pass
        raise Misfit("Decimal", described(stored))


@dataclass(frozen=True)
class Uuid(Derived):
    """A `UUID`."""

    label = "uuid"

    def __str__(self) -> str:
        return "UUID"

    @classmethod
    def of(cls, annotation: Any, path: str, parse: Parse) -> FieldType | None:
        """See `FieldType`."""
        return Uuid() if annotation is uuid.UUID else None

    def annotation(self, build: Build) -> Any:
        """See `FieldType`."""
        return uuid.UUID

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return Scalar("str")

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, uuid.UUID):
            raise Misfit("UUID", described(value))
        return str(value)

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        if not _UUID.fullmatch(stored):
            raise Misfit("UUID", described(stored))
        return uuid.UUID(stored)

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"format": "uuid"}
