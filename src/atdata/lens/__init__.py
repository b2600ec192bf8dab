"""Lenses: seeing samples of one type through another, and putting changes back.

A lens between a source type S and a view type V has `get: S -> V` and, where it can be written through,
`put: (V, S) -> S`. A lawful lens obeys (Foster et al., "Combinators for Bidirectional Tree Transformations", 2007):

    GetPut  put(get(s), s) == s            what was not changed stays
    PutGet  get(put(v, s)) == v            what was put is what is seen
    PutPut  put(v2, put(v1, s)) == put(v2, s)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from atdata.lens.functions import Composed, Identity, Lens, no_putter
from atdata.lens.projection import Projection
from atdata.lens.registry import find_lens, fitted, lens, register, registered_lens, registered_lenses
from atdata.lens.ulps import Tolerances, Ulps

if TYPE_CHECKING:
    from atdata.lens.code import CodeLens, FunctionCode
    from atdata.lens.counterexamples import Counterexample
    from atdata.lens.language import Complement, DataLens, Program
    from atdata.lens.language.proposing import Proposal, propose
    from atdata.lens.laws import LawReport, Tally, check_laws

__all__ = [
    "CodeLens",
    "Complement",
    "Composed",
    "Counterexample",
    "DataLens",
    "FunctionCode",
    "Identity",
    "LawReport",
    "Lens",
    "Program",
    "Projection",
    "Proposal",
    "Tally",
    "Tolerances",
    "Ulps",
    "check_laws",
    "find_lens",
    "fitted",
    "lens",
    "no_putter",
    "propose",
    "register",
    "registered_lens",
    "registered_lenses",
]


# What not every program needs comes when it is asked for.
_LAZY = {
    "atdata.lens.code": ("CodeLens", "FunctionCode"),
    "atdata.lens.language": ("Complement", "DataLens", "Program"),
    "atdata.lens.language.proposing": ("Proposal", "propose"),
    "atdata.lens.laws": ("Counterexample", "LawReport", "Tally", "check_laws"),
}
_HOMES = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'atdata.lens' has no attribute {name!r}")
