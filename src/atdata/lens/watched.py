"""A lens as two functions of bytes: what a user gets is compared, never what lies in memory."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol, runtime_checkable

import numpy as np

from atdata.errors import AtdataError, NoHomeError
from atdata.lens.ulps import Tolerances, has_infinity, values_in
from atdata.samples import SampleBatch, fields_of
from atdata.samples.codec import unpack
from atdata.samples.columns import ColumnDecoder
from atdata.samples.kinds.kind import described

NO_HOME = "NoHomeError"
"""The text that stands for a result where a lens is not defined."""


@runtime_checkable
class LensLike(Protocol):
    """All that trials ask of a lens: see `Lens`."""

    name: str
    source_type: Any
    view_type: Any

    @property
    def putter_function(self) -> Callable[[Any, Any], Any] | None:
        """See `Lens`."""

    @property
    def tolerances(self) -> Tolerances:
        """See `Lens`."""

    def get(self, source: Any) -> Any:
        """See `Lens`."""

    def put(self, view: Any, source: Any) -> Any:
        """See `Lens`."""

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        """See `Lens`."""


class Breach(Exception):
    """A law that does not hold.

    Attributes:
        law: its name.
        expected: a packed sample, or text.
        actual: likewise.
    """

    def __init__(self, law: str, expected: bytes | str, actual: bytes | str) -> None:
        super().__init__(law)
        self.law, self.expected, self.actual = law, expected, actual


class Watched:
    """A lens from packed samples to packed samples. Each call is held against what any call must keep:

        Total       a result of its type comes out, or `NoHomeError`
        Unchanged   arguments, and results of earlier calls, stay as they are
        Repeatable  equal arguments give equal results
        Finite      what is rounded does not become an infinity

    Args:
        lens: the lens.
        finite: the fields, by name or path, in which finite numbers must not become infinite.
        known: results of earlier calls, and how arguments are packed.
        other: another source, which is looked at last.

    Attributes:
        refusal: the first `NoHomeError`, for people; `None` where there was none.
    """

    def __init__(
        self,
        lens: LensLike,
        finite: Collection[str],
        known: dict[tuple[bytes, ...], bytes | None],
        other: bytes,
    ) -> None:
        self.lens, self._finite, self._known, self._other = lens, finite, known, other
        self._held: list[tuple[Any, bytes]] = []
        self.refusal: str | None = None

    def get(self, source: bytes) -> bytes | None:
        """The view of a sample; `None` where there is none.

        Raises:
            Breach: the call breaks a law.
        """
        return self._call("get", self.lens.get, [("source", source)], self.lens.view_type)

    def put(self, view: bytes, source: bytes) -> bytes | None:
        """The changed sample; `None` where the view has no home in it.

        Raises:
            Breach: the call breaks a law.
        """
        return self._call("put", self.lens.put, [("view", view), ("source", source)], self.lens.source_type)

    def views_of_columns(self, sources: list[bytes]) -> tuple[list[bytes] | None, list[bytes] | None]:
        """The views of a batch of samples, by `get` and by `map_columns`; `None` where one has none.

        Raises:
            Breach: the call breaks a law.
        """
        lens = self.lens
        columns = _columns(lens.source_type, sources)
        try:
            views = [lens.get(sample) for sample in SampleBatch(lens.source_type, columns).samples]
            one = [view.packed for view in SampleBatch.of(lens.view_type, views).samples]
        except NoHomeError:
            one = None
        try:
            mapped = lens.map_columns({name: columns[name] for name in lens.reads() or ()}, len(sources))
            return one, [view.packed for view in SampleBatch(lens.view_type, mapped).samples]
        except NoHomeError:
            return one, None
        except Exception as error:
            raise Breach("Columns", "columns, or NoHomeError", f"map_columns raises {_said(error)}") from error

    def finish(self) -> None:
        """Look at all results once more, when the lens has seen another sample.

        Raises:
            Breach: one has changed since it was given.
        """
        with suppress(Exception), np.errstate(all="ignore"):  # which is tried in its turn
            self.lens.get(self.lens.source_type.from_bytes(self._other))
        for sample, packed in self._held:
            if (now := _packed(sample)) != packed:
                raise Breach("Unchanged", packed, now)

    def _call(
        self, name: str, function: Callable[..., Any], given: list[tuple[str, bytes]], wanted: type
    ) -> bytes | None:
        arguments, before = zip(*(self._argument(side, data) for side, data in given), strict=True)
        result: bytes | None = None
        try:
            with np.errstate(all="ignore"):  # what a process has set is no part of a lens
                made = function(*arguments)
        except NoHomeError as error:
            self.refusal = self.refusal or f"{name} raises {_said(error)}"
        except Exception as error:
            raise Breach("Total", f"a {wanted.__name__}, or NoHomeError", f"{name} raises {_said(error)}") from error
        else:
            result = self._taken(name, made, wanted)
        for argument, packed in zip(arguments, before, strict=True):
            if (now := _packed(argument)) != packed:
                raise Breach("Unchanged", packed, now)
        key = (name.encode(), *before)
        if self._known.setdefault(key, result) != result:
            raise Breach("Repeatable", self._known[key] or NO_HOME, result or NO_HOME)
        if result is not None:
            self._check_finite(before, result)
        return result

    def _argument(self, side: str, data: bytes) -> tuple[Any, bytes]:
        """A sample made anew of bytes, and how it is packed: that is known of bytes that were looked at before."""
        argument = (self.lens.source_type if side == "source" else self.lens.view_type).from_bytes(data)
        key = (side.encode(), data)
        packed = self._known.get(key)
        if packed is None:
            packed = self._known[key] = argument.packed
        return argument, packed

    def _taken(self, name: str, made: Any, wanted: type) -> bytes:
        if not isinstance(made, wanted):
            raise Breach("Total", f"a {wanted.__name__}, or NoHomeError", f"{name} gives {described(made)}")
        try:
            packed: bytes = made.packed  # type: ignore[attr-defined]
        except Exception as error:
            raise Breach("Total", f"a {wanted.__name__} that can be stored", f"{name} gives {_said(error)}") from error
        self._held.append((made, packed))
        return packed

    def _check_finite(self, given: Collection[bytes], result: bytes) -> None:
        overflowed = bool(self._finite) and has_infinity([*values_in(self._finite, unpack(result))])
        if overflowed and not any(has_infinity(unpack(data)) for data in given):
            raise Breach("Finite", "finite numbers, or NoHomeError", result)


def _packed(sample: Any) -> bytes | str:
    try:
        packed: bytes = sample.packed
    except AtdataError as error:
        return _said(error)
    return packed


def _said(error: Exception) -> str:
    first = (str(error) or "nothing").splitlines()[0]
    path = f" at {error.path}" if isinstance(error, AtdataError) and error.path else ""
    return f"{type(error).__name__}: {first[:120]}{path}"


def _columns(sample_type: type[Any], sources: list[bytes]) -> dict[str, Any]:
    """Columns as a reader decodes them: at once where it can, else one by one."""
    starts = np.cumsum([0, *map(len, sources)])
    memory, sizes = np.frombuffer(b"".join(sources) + bytes(8), "u1"), np.diff(starts)
    names = [field.name for field in fields_of(sample_type)]
    found = ColumnDecoder(fields_of(sample_type), names).decode(memory, starts[:-1], sizes)
    if found is not None:
        return dict(found)
    return dict(SampleBatch.of(sample_type, [sample_type.from_bytes(data) for data in sources]).stored)
