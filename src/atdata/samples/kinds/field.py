"""One field of a sample type, with what is said about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from atdata.errors import FieldTypeError
from atdata.samples.kinds.containers import Maybe
from atdata.samples.kinds.kind import FieldType, Misfit, is_unicode

MAX_UNIT, MAX_DOC = 100, 5000


@dataclass(frozen=True)
class Unit:
    """The unit of a field's numbers, for `Annotated[float, Unit("nm")]`, in the code of UCUM (ucum.org), such as `m/s2`.

    Attributes:
        code: in the case-sensitive form.
    """

    code: str

    def __post_init__(self) -> None:
        code: object = self.code
        legal = isinstance(code, str) and 0 < len(code) <= MAX_UNIT and all("!" <= c <= "~" for c in code)
        if not legal or self.code.count("(") != self.code.count(")"):
            raise FieldTypeError(
                "a unit is no code of UCUM",
                expected='printable ASCII without spaces, such as "nm", "m/s2", "Cel" or "[degF]"',
                actual=repr(self.code)[:80],
            )


@dataclass(frozen=True)
class Doc:
    """The documentation of a field, for `Annotated[float, Doc("at sea level")]`.

    Attributes:
        text: what the field is, for people.
    """

    text: str

    def __post_init__(self) -> None:
        text: object = self.text
        if not isinstance(text, str) or not text.strip() or len(self.text) > MAX_DOC or not is_unicode(text):
            raise FieldTypeError(
                "the documentation of a field must be text",
                expected=f"1 to {MAX_DOC} characters",
                actual=repr(self.text)[:80],
            )


@dataclass(frozen=True)
class Field:
    """One field of a sample type.

    Attributes:
        name: what samples call it.
        type: what values it takes.
        default: makes the value of a sample that lacks it.
        unit: of its numbers, in UCUM.
        doc: what it is, for people.
    """

    name: str
    type: FieldType
    default: Callable[[], Any] | None = field(default=None, compare=False)
    unit: str | None = None
    doc: str | None = None

    @property
    def required(self) -> bool:
        """True if stored samples must carry the field: it has no default and may not be `None`."""
        return not isinstance(self.type, Maybe) and self.default is None

    def missing(self) -> Any:
        """The value of a field that a stored sample does not carry."""
        return None if self.default is None else self.default()

    def check_reads(self, stored: Field | None) -> None:
        """Check that every stored value of a field is read as that value of this one. Raises `Misfit`.

        A field that says a unit takes none but numbers of that unit; one that says none takes them as they come.

        Args:
            stored: the field as it was written; `None` where samples were written without one.
        """
        if stored is None:
            if self.required:
                raise Misfit(str(self.type), "no such field")
            return
        self.type.check_reads(stored.type)
        if self.unit not in (None, stored.unit):
            raise Misfit(f"the unit {self.unit}", "no unit" if stored.unit is None else f"the unit {stored.unit}")

    def accepts(self, stored: Field | None) -> bool:
        """True if every stored value of a field is read as that value of this one; see `check_reads`."""
        try:
            self.check_reads(stored)
        except Misfit:
            return False
        return True

    @property
    def shown(self) -> str:
        """Its type as people read it, with the unit."""
        return str(self.type) if self.unit is None else f"{self.type} ({self.unit})"

    def __str__(self) -> str:
        return f"{self.name}: {self.shown}" + (f" - {self.doc}" if self.doc else "")
