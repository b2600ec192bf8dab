"""Lenses of two functions: `get`, and `put` where there is a way back."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from atdata.arguments import checked_call, checked_map, checked_text, checked_type
from atdata.errors import LensError
from atdata.lens.signatures import checked_sample_type, signature_types, types_of
from atdata.lens.types import chosen, converter, free, schema_key
from atdata.lens.ulps import Tolerances, Ulps
from atdata.samples.packable import is_plain

if TYPE_CHECKING:
    from atdata.lens.complement import Complement
    from atdata.lens.laws import LawReport

S = TypeVar("S")
V = TypeVar("V")
W = TypeVar("W")
T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Lens(Generic[S, V]):
    """A view of samples of `source_type` as samples of `view_type`. Calling a lens is `get`; `a | b` and `b @ a` are a lens
    through `a` and then `b`.

    Args:
        get: the function that shows a sample.
        put: the function that puts a changed view back.
        source_type: what `get` takes; by default what its annotation says.
        view_type: what `get` gives; by default what its annotation says.
        name: what to call it; by default as `get`.
        rounding: of fields of floats, by name or path (`pose.x`): how far what was put and what is seen, or two sources, may
            lie apart there; a number is that of ulps.

    Attributes:
        getter_function: the function behind `get`.
        rounding: as given; for one made by a decorator it may be set.

    Raises:
        ArgumentTypeError: an argument is of another type.
        LensError: the types are not given, and the annotations do not name them.
    """

    def __init__(
        self,
        get: Callable[[S], V],
        put: Callable[[V, S], S] | None = None,
        *,
        source_type: type[S] | None = None,
        view_type: type[V] | None = None,
        name: str | None = None,
        rounding: Mapping[str, Ulps | int] = MappingProxyType({}),
    ) -> None:
        checked_call(get, "get", "Give a function from a sample to its view.")
        if put is not None:
            checked_call(put, "put", "Give a function of a view and a sample, or leave it out.")
        self.rounding = checked_map(rounding, "rounding", "Give ulps by field: {'x': 1}.")
        self.name = str(getattr(get, "__name__", "lens") if name is None else checked_text(name, "name"))
        if source_type is None or view_type is None:
            source_type, view_type = types_of(get, sys._getframe(1).f_locals, source_type, view_type)
        self.getter_function, self._put = get, put
        self.source_type = checked_sample_type(source_type, "source_type")
        self.view_type = checked_sample_type(view_type, "view_type")
        self.__module__ = str(getattr(get, "__module__", __name__))

    @classmethod
    def identity(cls, sample_type: type[T]) -> Lens[T, T]:
        """The lens that shows samples as they are."""
        return Identity(sample_type)

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:  # noqa: ARG002
        """The fields of the source that `map_columns` needs for some fields of the view, or for all of them; `None` where
        this lens sees one sample at a time.
        """
        return None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:  # noqa: ARG002
        """The columns of the view of some samples, without making a sample: of those fields for which `reads` is here.

        Args:
            columns: those of the sources.
            count: the number of samples.

        Raises:
            LensError: this lens sees one sample at a time.
        """
        raise LensError(f"the lens {self.name} sees one sample at a time", hint="Call get for each.")

    def get(self, source: S) -> V:
        """The view of a sample."""
        return self.getter_function(source)

    __call__ = get

    def put(self, view: V, source: S) -> S:
        """The sample `source`, changed so that it looks like `view`.

        Raises:
            LensError: the lens has no putter.
        """
        if self._put is None:
            raise LensError(f"the lens {self.name} has no putter", hint=f"Define one with @{self.name}.putter.")
        return self._put(view, source)

    def putter(self, function: F) -> F:
        """Decorator: `function(view, source) -> source` becomes this lens's `put`.

        Raises:
            LensError: its annotations are of other types.
        """
        checked_call(function, "function", "Decorate a function of a view and a sample.")
        wanted = [self.view_type, self.source_type, self.source_type]
        given = signature_types(function, sys._getframe(1).f_locals)
        if len(given) != 3 or any(g is not None and g is not w for g, w in zip(given, wanted, strict=True)):
            raise LensError(
                f"the putter of the lens {self.name} has a wrong signature",
                expected=f"(view: {wanted[0].__name__}, source: {wanted[1].__name__}) -> {wanted[2].__name__}",
                actual=", ".join("?" if g is None else g.__name__ for g in given),
                hint="Annotate both parameters and the result with these types.",
            )
        self._put = function
        return function

    @property
    def putter_function(self) -> Callable[[V, S], S] | None:
        """The function behind `put`, if there is one."""
        return self._put

    def then(self, other: Lens[V, W]) -> Lens[S, W]:
        """The composition of this lens and then another: of two programs one, in all other cases `Composed`.

        Raises:
            ArgumentTypeError: the other is no lens.
            LensError: the other's source type is not this one's view type.
        """
        return Composed(self, _checked(other))

    def __or__(self, other: Lens[V, W]) -> Lens[S, W]:
        return self.then(other)

    def __matmul__(self, first: Lens[W, S]) -> Lens[W, V]:
        made: Lens[W, V] = _checked(first).then(self)
        return made

    def _between(self, source_type: type[Any], view_type: type[Any]) -> Lens[Any, Any]:
        """The same lens for other classes of its two schemas."""
        made: Lens[Any, Any] = self
        if made.source_type is not source_type:
            made = Composed(Recast(source_type, made.source_type), made)
        return made if made.view_type is view_type else Composed(made, Recast(made.view_type, view_type))

    def complement(self, source: S) -> Complement:  # noqa: ARG002
        """The complement of the view of a sample: all that it lacks. Programs have one; see `DataLens`.

        Raises:
            LensError: this lens is no program, or goes through one that is none.
            NoHomeError: the sample has no view.
        """
        raise self._no_complement()

    def restore(self, view: V, complement: Complement, changed: V | None = None) -> S:  # noqa: ARG002
        """The sample that a view and its complement are; where the view was changed since, as it is then.

        Args:
            view: as it was seen.
            complement: what was made of the sample.
            changed: what the view has become.

        Raises:
            LensError: the complement is that of another sample; or this lens has none.
            NoHomeError: the changed view has no home in the sample.
        """
        raise self._no_complement()

    @property
    def _unknown(self) -> str:
        """The reason why there is no complement."""
        return f"{self.name} is no program"

    def _no_complement(self) -> LensError:
        return LensError(
            f"the lens {self.name} has no complement: {self._unknown}",
            hint="Keep the sample, and use put; or write the lens as a program (DataLens), of which it is known.",
        )

    def check_laws(
        self,
        samples: Iterable[S] = (),
        views: Iterable[V] = (),
        *,
        count: int | None = None,
        seed: str = "",
        rounding: Mapping[str, Ulps | int] | None = None,
    ) -> LawReport:
        """Try the laws as `atdata.lens.check_laws` does: on samples that are given, putting their views and some more, or
        on generated ones where none are given.

        Args:
            samples: samples of the source type.
            views: views to put into each.
            count: the number of samples to generate.
            seed: another seed, other samples.
            rounding: by default what the lens declares.

        Raises:
            LensError: a law does not hold; `path` names it, `expected` and `actual` show the two sides.
            UsageError: samples of a type without fields are to be generated.
        """
        from atdata.lens.laws import check_laws

        report = check_laws(self, samples, views, count=count, seed=seed, rounding=rounding)
        report.raise_for_failure()
        return report

    @property
    def tolerances(self) -> Tolerances:
        """The rounding that the lens declares: as far as that numbers may lie apart by the laws."""
        return Tolerances.declared(self.rounding)

    def __reduce__(self) -> str | tuple[Any, ...]:
        module = sys.modules.get(self.__module__)
        if module is not None and vars(module).get(self.name) is self:
            return str(self.name)  # by name, like the function that it decorates
        make: Any = Lens
        named = {"source_type": self.source_type, "view_type": self.view_type, "name": self.name}
        named |= {"rounding": dict(self.rounding)} if self.rounding else {}
        return partial(make, self.getter_function, self._put, **named), ()

    def __str__(self) -> str:
        """The name of what it does, the same in every process and run, as far as that is known."""
        return self.name

    def __repr__(self) -> str:
        return f"Lens({self.name}: {self.source_type.__name__} -> {self.view_type.__name__})"


class Composed(Lens[S, W]):
    """The composition of two lenses that are not one program. It has no complement, and no rounding is known of it: what both
    round together nobody said, so that its laws are tried to the bit unless its `rounding` is set.

    Args:
        first, second: the lenses.
        why: what keeps two programs from being one.

    Raises:
        LensError: the second does not start from the view type of the first.
    """

    def __init__(self, first: Lens[S, V], second: Lens[V, W], why: str = "") -> None:
        self._why = why
        if not are_joined(_checked(first), _checked(second)):
            raise LensError(
                "the second lens does not start from the view type of the first",
                expected=first.view_type.__name__,
                actual=second.source_type.__name__,
                hint="Compose lenses A -> B and B -> C.",
            )
        first = first._between(first.source_type, second.source_type)
        self.first, self.second = first, second
        super().__init__(
            self._get_both,
            self._put_both,
            source_type=first.source_type,
            view_type=second.view_type,
            name=f"{first.name}.{second.name}",
        )

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        between = self.second.reads(names)
        return None if between is None else self.first.reads(between)

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        """See `Lens`."""
        return self.second.map_columns(self.first.map_columns(columns, count), count)

    @property
    def putter_function(self) -> Callable[[W, S], S] | None:
        """The function behind `put`, if both lenses have one."""
        both = self.first.putter_function and self.second.putter_function
        return self._put_both if both else None

    def __str__(self) -> str:
        return f"{self.first}.{self.second}"

    @property
    def _unknown(self) -> str:
        return self.first._unknown or self.second._unknown or self._why

    def _get_both(self, source: S) -> W:
        return self.second.get(self.first.get(source))

    def _put_both(self, view: W, source: S) -> S:
        return self.first.put(self.second.put(view, self.first.get(source)), source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Composed, (self.first, self.second, self._why)


class Recast(Lens[S, V]):
    """The lens between two classes of one schema."""

    def __init__(self, source_type: type[S], view_type: type[V]) -> None:
        self._there, self._back = converter(source_type, view_type), converter(view_type, source_type)
        super().__init__(self._there, self._put_back, source_type=source_type, view_type=view_type, name="recast")

    def then(self, other: Lens[V, W]) -> Lens[S, W]:
        """See `Lens`."""
        same = self.view_type is self.source_type or is_plain(self.view_type)
        if same and are_joined(self, _checked(other)):
            return other._between(self.source_type, other.view_type)
        return super().then(other)

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        return chosen(self.view_type, names) if is_plain(self.view_type) and free(self.view_type) else None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Lens`."""
        return dict(columns)

    def _put_back(self, view: V, _source: S) -> S:
        return self._back(view)

    def __reduce__(self) -> tuple[Any, ...]:
        return Recast, (self.source_type, self.view_type)


class Identity(Recast[S, S]):
    """The lens that shows samples as they are."""

    def __init__(self, sample_type: type[S]) -> None:
        Lens.__init__(self, _same, _first, source_type=sample_type, view_type=sample_type, name="identity")

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        return chosen(self.source_type, names) if is_plain(self.source_type) else None

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, (self.source_type,)


def are_joined(first: Lens[Any, Any], second: Lens[Any, Any]) -> bool:
    """True if a lens starts from the view type of another, or from another class of its schema."""
    one, other = first.view_type, second.source_type
    return one is other or schema_key(one) == schema_key(other)


def _checked(other: Any) -> Any:
    return checked_type(other, Lens, "other", "Compose lenses: a | b.")


def _same(source: S) -> S:
    return source


def _first(view: S, _source: S) -> S:
    return view


def no_putter(view: Any, source: Any) -> NoReturn:  # noqa: ARG001  a putter's parameters
    """The putter that the record of a lens without one names: a record must name some.

    Raises:
        LensError: whatever is put.
    """
    raise LensError("the lens has no putter", hint="Its views can be read, and not written back.")
