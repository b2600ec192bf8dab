"""Decimal numbers and UUIDs, as text."""

from __future__ import annotations

import re
import uuid
from dataclasses import dataclass
from decimal import Decimal, DecimalException
from typing import Any

from atdata.samples.kinds.kind import FieldType, Misfit, OfClass, described
from atdata.samples.kinds.scalars import Scalar

_DECIMAL = re.compile(r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,19})?|Infinity|s?NaN[0-9]*)")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True)
class DecimalNumber(OfClass):
    """A `Decimal`, with all its digits and its own exponent."""

    label, python = "decimal", Decimal

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
class Uuid(OfClass):
    """A `UUID`."""

    label, python = "uuid", uuid.UUID

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
