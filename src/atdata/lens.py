"""Lenses: seeing samples of one type through another, and putting changes back.

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
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar

from atdata.errors import LensError, LensNotFoundError
from atdata.samples import DictSample, PackableSample, fields_of
from atdata.samples.fields import accepts

S = TypeVar("S")
V = TypeVar("V")
W = TypeVar("W")
F = TypeVar("F", bound=Callable[..., Any])

_registry: dict[tuple[type, type], Lens[Any, Any]] = {}


class Lens(Generic[S, V]):
    """A view of samples of `source_type` as samples of `view_type`. Calling a lens is `get`.

    Attributes:
        getter_function: the function behind `get`.
    """

    def __init__(
        self,
        get: Callable[[S], V],
        put: Callable[[V, S], S] | None = None,
        *,
        source_type: type[S],
        view_type: type[V],
        name: str | None = None,
    ) -> None:
        self.getter_function, self._put = get, put
        self.source_type, self.view_type = source_type, view_type
        self.name = str(getattr(get, "__name__", "lens") if name is None else name)
        self.__module__ = str(getattr(get, "__module__", __name__))

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
        given = _signature_types(function, sys._getframe(1).f_locals)
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

    def check_laws(self, samples: Iterable[S], views: Iterable[V] = ()) -> None:
        """Check the lens laws on some samples, putting the views of all of them and some more.

        Raises:
            LensError: a law does not hold; `path` names it, `expected` and `actual` show the two sides.
        """
        samples = list(samples)
        views = [*map(self.get, samples), *views]
        for source in samples:
            _law(self.name, "GetPut", source, self.put(self.get(source), source))
            for first, second in zip(views, [*views[1:], *views[:1]], strict=True):
                changed = self.put(first, source)
                _law(self.name, "PutGet", first, self.get(changed))
                _law(self.name, "PutPut", self.put(second, source), self.put(second, changed))

    def __reduce__(self) -> str | tuple[Any, ...]:
        module = sys.modules.get(self.__module__)
        if module is not None and vars(module).get(self.name) is self:
            return str(self.name)  # by name, like the function that it decorates
        make: Any = Lens
        named = {"source_type": self.source_type, "view_type": self.view_type, "name": self.name}
        return partial(make, self.getter_function, self._put, **named), ()

    def __repr__(self) -> str:
        return f"Lens({self.name}: {self.source_type.__name__} -> {self.view_type.__name__})"


class Composed(Lens[S, W]):
    """The composition of two lenses."""

    def __init__(self, first: Lens[S, V], second: Lens[V, W]) -> None:
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

    @property
    def putter_function(self) -> Callable[[W, S], S] | None:
        """The function behind `put`, if both lenses have one."""
        both = self.first.putter_function and self.second.putter_function
        return self._put_both if both else None

    def _get_both(self, source: S) -> W:
        return self.second.get(self.first.get(source))

    def _put_both(self, view: W, source: S) -> S:
        return self.first.put(self.second.put(view, self.first.get(source)), source)

    def __reduce__(self) -> tuple[Any, ...]:
        return Composed, (self.first, self.second)


class Projection(Lens[S, V]):
    """The lens from a type to one with some of its fields: the others are left out, and kept on `put`."""

    def __init__(self, source_type: type[S], view_type: type[V]) -> None:
        given = {field.name for field in fields_of(source_type)}
        self._names = [field.name for field in fields_of(view_type) if field.name in given]
        super().__init__(self._project, self._restore, source_type=source_type, view_type=view_type, name="projection")

    def _project(self, source: S) -> V:
        return self.view_type(**{name: getattr(source, name) for name in self._names})

    def _restore(self, view: V, source: S) -> S:
        values = {field.name: getattr(source, field.name) for field in fields_of(self.source_type)}
        values |= {name: getattr(view, name) for name in self._names}
        return self.source_type(**values)

    def __reduce__(self) -> tuple[Any, ...]:
        return Projection, (self.source_type, self.view_type)


def lens(function: Callable[[S], V]) -> Lens[S, V]:
    """Decorator: make and register the lens whose `get` is an annotated function `(source: S) -> V`.

    Example:
        >>> import atdata
        >>> @atdata.packable
        ... class Person:
        ...     first: str
        ...     last: str
        >>> @atdata.packable
        ... class Name:
        ...     name: str
        >>> @atdata.lens
        ... def named(person: Person) -> Name:
        ...     return Name(f"{person.first} {person.last}")
        >>> @named.putter
        ... def rename(name: Name, person: Person) -> Person:
        ...     return Person(*name.name.split(" "))
        >>> named.put(Name("Ada King"), Person("Ada", "Lovelace"))
        Person(first='Ada', last='King')
        >>> named.check_laws([Person("Ada", "Lovelace")], views=[Name("Ada King")])

    Raises:
        LensError: the annotations do not name two sample types.
    """
    types = _signature_types(function, sys._getframe(1).f_locals)
    if len(types) != 2 or not all(t is not None and issubclass(t, PackableSample | DictSample) for t in types):
        raise LensError(
            f"{function.__name__} cannot be a lens: its annotations must be two sample types",
            expected="(source: SampleType) -> SampleType, annotated",
            actual=str(inspect.signature(function)),
            hint="Annotate its parameter and its result with sample types.",
        )
    made = Lens(function, source_type=types[0], view_type=types[1], name=function.__name__)
    register(made)
    return made


def no_putter(view: Any, source: Any) -> NoReturn:  # noqa: ARG001  a putter's parameters
    """The putter that the record of a lens without one names: a record must name some.

    Raises:
        LensError: whatever is put.
    """
    raise LensError("the lens has no putter", hint="Its views can be read, and not written back.")


def register(made: Lens[Any, Any]) -> None:
    """Make a lens the one that `Dataset.as_type` uses between its two types; a later one replaces it."""
    _registry[made.source_type, made.view_type] = made


def registered_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V] | None:
    """The lens that was registered between two types, if one was."""
    return _registry.get((source_type, view_type))


def find_lens(source_type: type[S], view_type: type[V]) -> Lens[S, V]:
    """The registered lens between two types, else the projection where the view only leaves fields out.

    Raises:
        LensNotFoundError: there is neither.
    """
    if found := registered_lens(source_type, view_type):
        return found
    if _is_projection(source_type, view_type):
        return Projection(source_type, view_type)
    known = [view.__name__ for source, view in _registry if source is source_type]
    raise LensNotFoundError(
        f"no lens is registered from {source_type.__name__} to {view_type.__name__}",
        expected=f"@lens def f(source: {source_type.__name__}) -> {view_type.__name__}",
        actual=f"lenses to {', '.join(known)}" if known else "none is registered",
        hint="Define it with @atdata.lens.",
    )


def _is_projection(source_type: type, view_type: type) -> bool:
    if not (issubclass(source_type, PackableSample) and issubclass(view_type, PackableSample)):
        return False
    given = {field.name: field.type for field in fields_of(source_type)}
    return all(accepts(f.type, given[f.name]) if f.name in given else not f.required for f in fields_of(view_type))


def _signature_types(function: Callable[..., Any], local: dict[str, Any]) -> list[Any]:
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


def _law(name: str, law: str, expected: Any, actual: Any) -> None:
    if expected != actual:
        comparable = isinstance(expected, PackableSample) and type(expected) is type(actual)
        fields = fields_of(type(expected)) if comparable else ()
        broken = [f.name for f in fields if not f.type.same(getattr(expected, f.name), getattr(actual, f.name))]
        one, other = (", ".join(f"{n}={getattr(s, n)!r}" for n in broken) or repr(s) for s in (expected, actual))
        hint = "Correct its getter or its putter; the laws are in atdata.lens."
        raise LensError(f"the lens {name} breaks the law {law}", path=law, expected=one, actual=other, hint=hint)
