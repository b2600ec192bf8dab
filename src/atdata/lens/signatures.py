"""The sample types in the signature of a function."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar

from atdata.errors import ArgumentTypeError, LensError
from atdata.samples import DictSample, PackableSample

T = TypeVar("T")


def checked_sample_type(given: type[T], path: str) -> type[T]:
    """A sample type.

    Raises:
        ArgumentTypeError: it is none.
    """
    found: Any = given  # whatever was given at run time
    if isinstance(found, type) and issubclass(found, PackableSample | DictSample):
        return given
    raise ArgumentTypeError(
        f"{path} must be a sample type",
        path=path,
        actual=getattr(given, "__name__", type(given).__name__),
        hint="Give a class that is decorated with @atdata.packable.",
    )


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
    source: Any
    view: Any
    found = signature_types(function, local)
    source, view = [source_type or found[0], view_type or found[-1]] if len(found) == 2 else [None, None]
    kinds = (PackableSample, DictSample)
    if not all(isinstance(kind, type) and issubclass(kind, kinds) for kind in (source, view)):
        name = getattr(function, "__name__", "a function")
        raise LensError(
            f"{name} cannot be a lens: its annotations must be two sample types",
            expected="(source: SampleType) -> SampleType, annotated",
            actual=str(inspect.signature(function)),
            hint="Annotate its parameter and its result with sample types.",
        )
    return source, view


def signature_types(function: Any, local: dict[str, Any]) -> list[Any]:
    """The classes in the annotations of a function's parameters and result; `None` for others."""
    if not callable(function):
        hint = "Give a function that takes a sample."
        raise LensError("a lens is made of functions", expected="a function", actual=type(function).__name__, hint=hint)
    try:
        hints = typing.get_type_hints(function, localns=local)
        names = [*inspect.signature(function).parameters, "return"]
    except (
        NameError,
        AttributeError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:  # of some builtins nothing is known
        what, hint = (
            f"an annotation of {getattr(function, '__name__', 'a function')} cannot be resolved",
            "Annotate it with classes that are defined.",
        )
        raise LensError(what, actual=error, hint=hint) from error
    return [hints[name] if isinstance(hints.get(name), type) else None for name in names]
