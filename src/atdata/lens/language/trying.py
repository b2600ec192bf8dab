"""The laws of programs, tried: on generated samples, and on some that are made so that the program has a view of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from atdata.atproto.cid import Cid
from atdata.errors import LensError, SampleError
from atdata.lens.language.binding import BoundStep
from atdata.lens.language.constants import BEYOND
from atdata.lens.language.program import VERSION, Program
from atdata.lens.laws import COUNT, LawReport, canonical, check_laws
from atdata.lens.types import schema_cid
from atdata.lens.watched import LensLike
from atdata.samples.space import SampleSpace


class ProgramLike(LensLike, Protocol):
    """A program between two types: a `DataLens`."""

    program: Program
    steps: tuple[BoundStep, ...]

    def source_of(self, view: Any, source: Any, number: int = 0) -> Any:
        """See `DataLens`."""


MADE = 50
"""Samples that are made of generated views."""

_reports: dict[tuple[Cid, Cid, Cid, int], LawReport] = {}


def enough(lens: ProgramLike) -> int:
    """The number of samples that a program is tried on where nobody says: fewer for a long one, which takes longer for each
    and must not keep its reader waiting.
    """
    return max(10, min(COUNT, 4000 // max(1, len(lens.steps))))


def laws_of(lens: ProgramLike) -> LawReport:
    """The laws of a program between two types, tried once in a process: what is found depends on the program, the two
    schemas and the version of the language alone.

    Raises:
        FieldTypeError, LimitError: no samples of such types can be generated.
        MissingExtraError: the library of a field is not installed.
    """
    key = (lens.program.cid, schema_cid(lens.source_type), schema_cid(lens.view_type), VERSION)
    if key not in _reports:
        _reports[key] = try_program(lens, count=enough(lens))
    return _reports[key]


def try_program(lens: ProgramLike, *, count: int = COUNT, seed: str = "") -> LawReport:
    """Try the laws of a program. What is tried depends on the program, the two schemas and the seed alone, so that a trial
    that names them is repeated elsewhere.

    Args:
        lens: the program between two types.
        count: the number of samples that are generated; besides there are `MADE`, or fewer.
        seed: any text.

    Raises:
        FieldTypeError, LimitError: no samples of such types can be generated.
        LensError: what it says is beyond what can be computed.
        MissingExtraError: the library of a field is not installed.
    """
    try:
        return check_laws(lens, _made(lens, seed, min(MADE, count)), count=count, seed=seed)
    except BEYOND as error:
        what, hint = f"the laws of {lens.name} cannot be tried", "Correct what its steps say."
        raise LensError(what, actual=type(error).__name__, hint=hint) from error


def _made(lens: ProgramLike, seed: str, most: int) -> Iterator[Any]:
    """Yields samples that have a view. Texts with a separator, or words that are mapped, would else be rare."""
    spaces = SampleSpace(lens.view_type), SampleSpace(lens.source_type)
    for number in range(most):
        packed = [
            canonical(kind, space.sample(number, seed))
            for kind, space in zip((lens.view_type, lens.source_type), spaces, strict=True)
        ]
        if packed[0] is not None and packed[1] is not None:
            try:
                view, source = lens.view_type.from_bytes(packed[0]), lens.source_type.from_bytes(packed[1])
                yield lens.source_of(view, source, number)
            except (LensError, SampleError, KeyError):
                continue
