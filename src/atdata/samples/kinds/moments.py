"""Moments, dates, times of day and durations, as text of ISO 8601."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from typing import Any, ClassVar

from atdata.samples.kinds.kind import FieldType, Misfit, OfClass, described
from atdata.samples.kinds.scalars import Scalar

_DURATION = re.compile(r"(-?)P(?:(\d{1,9})D)?(?:T(?:(\d{1,14})H)?(?:(\d{1,14})M)?(?:(\d{1,14})(?:\.(\d{1,6}))?S)?)?")
_MICROSECOND = dt.timedelta(microseconds=1)
_INT64 = 1 << 63
_TINY = "00:00:00."


class _Text(OfClass):
    """A kind whose values are stored as text in a format of JSON Schema."""

    format: ClassVar[str]

    @property
    def stored(self) -> FieldType:
        """See `Labelled`."""
        return _STR

    def keywords(self) -> dict[str, Any]:
        """See `Derived`."""
        return {"format": self.format}

    def _misfit(self, value: Any) -> Misfit:
        return Misfit(str(self), described(value))


_STR = Scalar("str")


@dataclass(frozen=True)
class DateTime(_Text):
    """A moment with its offset from UTC, or without one, to the microsecond. The name of a time zone is not kept."""

    label, format, python = "datetime", "date-time", dt.datetime

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, dt.datetime) or value != value:  # pandas has a moment that is none
            raise self._misfit(value)
        if getattr(value, "nanosecond", 0):
            raise Misfit("datetime to the microsecond", f"{type(value).__name__} with nanoseconds")
        return dt.datetime.isoformat(value)

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        try:
            return (
                dt.datetime.fromisoformat(stored) if stored[-15:-6] != _TINY else _with_tiny_offset(dt.datetime, stored)
            )
        except ValueError:
            raise self._misfit(stored) from None

    def fitted(self, pa: Any, values: list[Any]) -> Any:
        """See `Derived`: all without an offset, or all in UTC."""
        offsets = {value.utcoffset() for value in values if value is not None}
        zones = {None: None, dt.timedelta(0): "UTC"}
        return pa.timestamp("us", zones[offsets.pop()]) if len(offsets) == 1 and offsets <= zones.keys() else None


@dataclass(frozen=True)
class Date(_Text):
    """A day of the calendar."""

    label, format, python = "date", "date", dt.date

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, dt.date) or isinstance(value, dt.datetime):
            raise self._misfit(value)
        return value.isoformat()

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        try:
            return dt.date.fromisoformat(stored)
        except ValueError:
            raise self._misfit(stored) from None

    def arrow(self, pa: Any) -> Any:
        """See `FieldType`."""
        return pa.date32()

    def to_cell(self, value: Any) -> Any:
        """See `FieldType`."""
        return value


@dataclass(frozen=True)
class Time(_Text):
    """A time of day, with an offset from UTC or without one."""

    label, format, python = "time", "time", dt.time

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, dt.time):
            raise self._misfit(value)
        if value.tzinfo is not None and value.utcoffset() is None:
            raise Misfit("time, with a fixed offset or none", "a time whose offset depends on the day")
        return value.isoformat()

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        try:
            return dt.time.fromisoformat(stored) if stored[-15:-6] != _TINY else _with_tiny_offset(dt.time, stored)
        except ValueError:
            raise self._misfit(stored) from None

    def fitted(self, pa: Any, values: list[Any]) -> Any:
        """See `Derived`: all without an offset."""
        given = [value for value in values if value is not None]
        return pa.time64("us") if given and all(value.tzinfo is None for value in given) else None


@dataclass(frozen=True)
class Duration(_Text):
    """A `timedelta`, as a number of seconds."""

    label, format, python = "timedelta", "duration", dt.timedelta

    def to_stored(self, value: Any) -> Any:
        """See `Derived`."""
        if not isinstance(value, dt.timedelta) or value != value:
            raise self._misfit(value)
        if getattr(value, "nanoseconds", 0):
            raise Misfit("timedelta to the microsecond", f"{type(value).__name__} with nanoseconds")
        total = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
        seconds, rest = divmod(abs(total), 1_000_000)
        return f"{'-' if total < 0 else ''}PT{seconds}" + (f".{rest:06}S" if rest else "S")

    def from_stored(self, stored: Any) -> Any:
        """See `Derived`."""
        found = _DURATION.fullmatch(stored)
        if found is None or not any(found.groups()[1:]):
            raise self._misfit(stored)
        days, hours, minutes, seconds = (int(text or 0) for text in found.groups()[1:5])
        try:
            whole = dt.timedelta(days, seconds, int((found[6] or "").ljust(6, "0")), 0, minutes, hours)
            return -whole if found[1] else whole
        except OverflowError:
            raise self._misfit(stored) from None

    def fitted(self, pa: Any, values: list[Any]) -> Any:
        """See `Derived`: all of 64 bits of microseconds."""
        given = [value for value in values if value is not None]
        fit = all(-_INT64 <= value // _MICROSECOND < _INT64 for value in given)
        return pa.duration("us") if given and fit else None


def _with_tiny_offset(kind: Any, text: str) -> Any:
    """The moment in a text that ends like an offset of less than a second, which Python takes for none."""
    sign, rest = text[-16:-15], int(text[-6:])
    if sign not in ("+", "-"):
        return kind.fromisoformat(text)
    offset = dt.timedelta(microseconds=-rest if sign == "-" else rest)
    return kind.fromisoformat(text[:-16]).replace(tzinfo=dt.timezone(offset))
