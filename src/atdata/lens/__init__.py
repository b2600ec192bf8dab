"""Lenses: seeing samples of one type through another, and putting changes back.

A lens between a source type S and a view type V has `get: S -> V` and, where it can be written through,
`put: (V, S) -> S`. A lawful lens obeys (Foster et al., "Combinators for Bidirectional Tree Transformations", 2007):

    GetPut  put(get(s), s) == s            what was not changed stays
    PutGet  get(put(v, s)) == v            what was put is what is seen
    PutPut  put(v2, put(v1, s)) == put(v2, s)
"""

from typing import TYPE_CHECKING

from atdata.lazy import attach
from atdata.lens.decorator import lens

if TYPE_CHECKING:
    from atdata.lens.code import CodeLens, FunctionCode
    from atdata.lens.counterexamples import Counterexample
    from atdata.lens.functions import Composed, Identity, Lens, no_putter
    from atdata.lens.language import Complement, DataLens, Program
    from atdata.lens.language.proposing import Proposal, propose
    from atdata.lens.laws import LawReport, Tally, check_laws
    from atdata.lens.projection import Projection
    from atdata.lens.registry import find_lens, fitted, register, registered_lens, registered_lenses
    from atdata.lens.ulps import Tolerances, Ulps

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
__getattr__ = attach(
    __name__,
    {
        "atdata.lens.code": ("CodeLens", "FunctionCode"),
        "atdata.lens.functions": ("Composed", "Identity", "Lens", "no_putter"),
        "atdata.lens.language": ("Complement", "DataLens", "Program"),
        "atdata.lens.language.proposing": ("Proposal", "propose"),
        "atdata.lens.laws": ("Counterexample", "LawReport", "Tally", "check_laws"),
        "atdata.lens.projection": ("Projection",),
        "atdata.lens.registry": ("find_lens", "fitted", "register", "registered_lens", "registered_lenses"),
        "atdata.lens.ulps": ("Tolerances", "Ulps"),
    },
)


def __dir__() -> list[str]:
    return __all__
