"""Lenses of two functions: `get`, and `put` where there is a way back.

A lens between a source type S and a view type V has `get: S -> V` and, where it can be written through,
`put: (V, S) -> S`. A lawful lens obeys (Foster et al., "Combinators for Bidirectional Tree Transformations", 2007):

    GetPut  put(get(s), s) == s            what was not changed stays
    PutGet  get(put(v, s)) == v            what was put is what is seen
    PutPut  put(v2, put(v1, s)) == put(v2, s)
"""

from __future__ import annotations

import inspect
import sys
import typing
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from atdata.errors import LensError
from atdata.lens.types import between, chosen, converter, free, merger, schema_key
from atdata.lens.ulps import Tolerances, Ulps
from atdata.samples import DictSample, PackableSample, fields_of
from atdata.samples.packable import is_plain

if TYPE_CHECKING:
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
        self.rounding = rounding
        self.name = str(getattr(get, "__name__", "lens") if name is None else name)
        if source_type is None or view_type is None:
            source_type, view_type = types_of(get, sys._getframe(1).f_locals, source_type, view_type)
        self.getter_function, self._put = get, put
        self.source_type, self.view_type = source_type, view_type
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
        """The composition of this lens and then another.

        Raises:
            LensError: the other's source type is not this one's view type.
        """
        return Composed(self, other)

    __or__ = then

    def __matmul__(self, first: Lens[W, S]) -> Lens[W, V]:
        return first.then(self)

    def check_laws(
        self, samples: Iterable[S] = (), views: Iterable[V] = (), *, count: int | None = None, seed: str = ""
    ) -> LawReport:
        """Try the laws as `atdata.lens.check_laws` does: on samples that are given, putting their views and some more, or
        on generated ones where none are given.

        Args:
            samples: samples of the source type.
            views: views to put into each.
            count: the number of samples to generate.
            seed: another seed, other samples.

        Raises:
            LensError: a law does not hold; `path` names it, `expected` and `actual` show the two sides.
            UsageError: samples of a type without fields are to be generated.
        """
        from atdata.lens.laws import check_laws

        report = check_laws(self, samples, views, count=count, seed=seed)
        report.raise_for_failure()
        return report

    @property
    def tolerances(self) -> Tolerances:
        """How far numbers may lie apart by the laws, as the lens declares it."""
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
    """The composition of two lenses."""

    def __init__(self, first: Lens[S, V], second: Lens[V, W]) -> None:
        if first.view_type is not second.source_type:
            same = schema_key(first.view_type) == schema_key(second.source_type)
            first = Composed(first, Recast(first.view_type, second.source_type)) if same else first
        if first.view_type is not second.source_type:
            raise LensError(
                "the second lens does not start from the view type of the first",
                expected=first.view_type.__name__,
                actual=second.source_type.__name__,
                hint="Compose lenses A -> B and B -> C.",
            )
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

    def _get_both(self, source: S) -> W:
        return self.second.get(self.first.get(source))

    def _put_both(self, view: W, source: S) -> S:
        return self.first.put(self.second.put(view, self.first.get(source)), source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Composed, (self.first, self.second)


class Identity(Lens[S, S]):
    """The lens that shows samples as they are."""

    def __init__(self, sample_type: type[S]) -> None:
        super().__init__(_same, _first, source_type=sample_type, view_type=sample_type, name="identity")

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        return chosen(self.source_type, names) if is_plain(self.source_type) else None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:  # noqa: ARG002
        """See `Lens`."""
        return dict(columns)

    def __reduce__(self) -> tuple[Any, ...]:
        return Identity, (self.source_type,)


class Recast(Lens[S, V]):
    """The lens between two classes of one schema."""

    def __init__(self, source_type: type[S], view_type: type[V]) -> None:
        self._there, self._back = converter(source_type, view_type), converter(view_type, source_type)
        super().__init__(self._there, self._put_back, source_type=source_type, view_type=view_type, name="recast")

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


class Projection(Lens[S, V]):
    """The lens from a type to one with some of its fields: the others are left out, and kept on `put`."""

    def __init__(self, source_type: type[S], view_type: type[V]) -> None:
        given = {field.name: field.type for field in fields_of(source_type)}
        shared = [(field.name, field.type) for field in fields_of(view_type) if field.name in given]
        self._names = [name for name, _ in shared]
        self._free = free(view_type)
        self._there = [(name, between(given[name], kind)) for name, kind in shared]
        self._back = [(name, merger(given[name], kind)) for name, kind in shared]
        super().__init__(self._project, self._restore, source_type=source_type, view_type=view_type, name="projection")

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        asked = chosen(self.view_type, names)
        return tuple(name for name in self._names if name in asked) if is_plain(self.view_type) and self._free else None

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        """See `Lens`."""
        kept = {name: columns[name] for name in self._names if name in columns}
        added = [field for field in fields_of(self.view_type) if field.name not in self._names]
        return kept | {field.name: [field.missing() for _ in range(count)] for field in added}

    def _project(self, source: S) -> V:
        return self.view_type(**{name: convert(getattr(source, name)) for name, convert in self._there})

    def _restore(self, view: V, source: S) -> S:
        values = {field.name: getattr(source, field.name) for field in fields_of(self.source_type)}
        values |= {name: merge(getattr(view, name), values[name]) for name, merge in self._back}
        return self.source_type(**values)

    def __reduce__(self) -> tuple[Any, ...]:
        return Projection, (self.source_type, self.view_type)


def _same(source: S) -> S:
    return source


def _first(view: S, _source: S) -> S:
    return view


def types_of(
    function: Callable[..., Any],
    local: dict[str, Any],
    source_type: type[Any] | None = None,
    view_type: type[Any] | None = None,
) -> tuple[type[Any], type[Any]]:
    """The two sample types of a getter: those given, else those in its annotations.

    Args:
        function: the getter.
        local: the names where it is declared.
        source_type, view_type: what is known already.

    Raises:
        LensError: the annotations do not name two sample types.
    """
    found = signature_types(function, local)
    source, view = [source_type or found[0], view_type or found[-1]] if len(found) == 2 else [None, None]
    kinds = (PackableSample, DictSample)
    if source is None or view is None or not issubclass(source, kinds) or not issubclass(view, kinds):
        name = getattr(function, "__name__", "a function")
        raise LensError(
            f"{name} cannot be a lens: its annotations must be two sample types",
            expected="(source: SampleType) -> SampleType, annotated",
            actual=str(inspect.signature(function)),
            hint="Annotate its parameter and its result with sample types.",
        )
    return source, view


def no_putter(view: Any, source: Any) -> NoReturn:  # noqa: ARG001  a putter's parameters
    """The putter that the record of a lens without one names: a record must name some.

    Raises:
        LensError: whatever is put.
    """
    raise LensError("the lens has no putter", hint="Its views can be read, and not written back.")


def signature_types(function: Callable[..., Any], local: dict[str, Any]) -> list[Any]:
    """The classes in the annotations of a function's parameters and result; `None` for others."""
    try:
        hints = typing.get_type_hints(function, localns=local)
    except (NameError, AttributeError, SyntaxError, TypeError) as error:
        what, hint = (
            f"an annotation of {function.__name__} cannot be resolved",
            "Annotate it with classes that are defined.",
        )
        raise LensError(what, actual=error, hint=hint) from error
    names = [*inspect.signature(function).parameters, "return"]
    return [hints[name] if isinstance(hints.get(name), type) else None for name in names]
