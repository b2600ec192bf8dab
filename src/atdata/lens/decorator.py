"""`@atdata.lens`. It comes with `import atdata`, so what it needs comes when it is used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from atdata.arguments import checked_call

if TYPE_CHECKING:
    from atdata.lens.functions import Lens

S = TypeVar("S")
V = TypeVar("V")


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
        >>> named.check_laws([Person("Ada", "Lovelace")], views=[Name("Ada King")]).verdict
        'holds'

    Raises:
        LensError: the annotations do not name two sample types.
    """
    from atdata.lens.functions import Lens
    from atdata.lens.registry import register
    from atdata.lens.signatures import types_of

    checked_call(function, "function", "Decorate a function from a sample to its view.")
    source_type, view_type = types_of(function, sys._getframe(1).f_locals)
    made = Lens(function, source_type=source_type, view_type=view_type, name=function.__name__)
    register(made)
    return made
