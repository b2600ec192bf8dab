"""Proposals: a program from one sample type to another, for people to read. Nothing applies one unasked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from atdata.errors import FieldTypeError, LensError, LimitError, MissingExtraError
from atdata.lens.language.drafting import Draft, DraftedStep
from atdata.lens.language.lens import DataLens
from atdata.lens.language.program import Program, bare_field
from atdata.lens.language.trying import try_program
from atdata.lens.laws import COUNT, LawReport
from atdata.numbers import checked_int
from atdata.samples import fields_of


@dataclass(frozen=True)
class Proposal:
    """A program that is proposed, or a draft of one with open places.

    Attributes:
        steps: the steps, each with the reason why it is proposed.
        questions: those that a person has to answer first; the open place of the first is `?1`.
        problem: what keeps a draft without questions from being a program.
        report: the trial of its laws; `None` where it did not come to one.
        program: the program; `None` unless it leads from the whole of the one type to the whole of the other, and its laws
            held.
    """

    steps: tuple[DraftedStep, ...]
    questions: tuple[str, ...] = ()
    problem: str | None = None
    report: LawReport | None = None
    program: Program | None = None

    @property
    def title(self) -> str:
        """The verdict in a line: proposed, asked for, or neither."""
        if self.program is not None and self.report is not None:
            tried = self.report.samples + self.report.given
            return f"This lens is proposed; its laws held on {tried} samples. Read it before you use it."
        if self.questions:
            return "No lens is proposed before somebody answers. This draft has open places:"
        return f"No lens is proposed: {self.problem}"

    @property
    def lines(self) -> list[str]:
        """Its steps, and the questions, line by line."""
        steps = [line for step in self.steps for line in (f"  {step}", f"      {step.why}")]
        return steps + [f"  ?{number} {question}" for number, question in enumerate(self.questions, 1)]

    def __str__(self) -> str:
        return "\n".join([self.title, *self.lines])


def propose(source_type: type[Any], view_type: type[Any], *, count: int = COUNT) -> Proposal:
    """The proposal of a program from one sample type to another.

    Fields of one name stay, fields of alike names are renamed, exact conversions of units and casts are made, and fields
    that may be `None` are added. What types and names do not tell is asked: a value for a new field, two names that are
    equally likely, the parts of a text.

    Args:
        source_type: of the samples that there are.
        view_type: of those that are wanted.
        count: the number of samples that are generated to try the laws.

    Raises:
        FieldTypeError: one is no sample type.
        UsageError: the count is no number.
    """
    count = checked_int(count, "count")
    old, new = ({field.name: bare_field(field) for field in fields_of(kind)} for kind in (source_type, view_type))
    draft = Draft()
    draft.lead(old, new)
    if not draft.carried:
        return Proposal((), problem="the two types have nothing in common")
    steps, questions = tuple(draft.steps), tuple(draft.questions)
    if questions:
        return Proposal(steps, questions)
    try:
        program = Program.of(*(step.value for step in steps))
        report = try_program(DataLens(program, source_type, view_type), count=count)
        report.raise_for_failure()
    except (LensError, FieldTypeError, LimitError, MissingExtraError) as error:
        return Proposal(steps, problem=error.what)
    return Proposal(steps, report=report, program=program)
