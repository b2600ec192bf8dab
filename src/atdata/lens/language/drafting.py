"""Drafts of programs: the steps that probably lead from some fields to others, and the questions that only people answer.

A step is drafted without a question only where names and types leave one reading. All else has open places.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from atdata.lens.language.likeness import ALIKE, likeness, words
from atdata.lens.language.trees import Fields, Path, shown
from atdata.lens.language.units import conversion, shown_decimal
from atdata.lens.language.ways import Change, has_way, node_of, reached, way
from atdata.samples import Array, Maybe, Scalar
from atdata.samples.kinds import SampleOf
from atdata.samples.kinds.field import Field

_APART = 0.1
"""The least distance between two likelihoods that are not equal."""
_COST = 0.15
"""The likelihood that a pair loses by each step of conversion."""
_MOST = 2_500
"""Pairs of fields that are compared."""
_PARTS = (("first", "last"), ("given", "family"), ("forename", "surname"))
"""Names of the parts of a text."""
_NOTHING: Any = object()


@dataclass(frozen=True)
class Open:
    """An open place of a draft.

    Attributes:
        number: of its question, from 1.
        guess: what probably stands there, if something does.
    """

    number: int
    guess: Any = _NOTHING

    def __str__(self) -> str:
        return f"?{self.number}" + ("" if self.guess is _NOTHING else f"({_written(self.guess)})")


@dataclass(frozen=True)
class DraftedStep:
    """A step of a draft.

    Attributes:
        value: its JSON, in which some places may be `Open`.
        why: it is there.
    """

    value: dict[str, Any]
    why: str

    def __str__(self) -> str:
        return _written(self.value)


class Draft:
    """The steps from some fields to others.

    Attributes:
        steps: the steps.
        questions: the question of each open place; the first is `?1`.
        carried: the number of fields of which something is seen again.
    """

    def __init__(self) -> None:
        self.steps: list[DraftedStep] = []
        self.questions: list[str] = []
        self.carried = 0

    def lead(self, old: Fields, new: Fields, at: Path = ()) -> None:
        """Draft what leads from some fields to others, at a path."""
        kept = [name for name in new if name in old and has_way(old[name], new[name])]
        level = _Level(
            self,
            at,
            {name: field for name, field in old.items() if name not in kept},
            {name: field for name, field in new.items() if name not in kept},
        )
        self.carried += len(kept)
        level.draft()
        for name in kept:
            self.change(old[name], new[name], (*at, name))

    def change(self, old: Field, new: Field, path: Path) -> None:
        """Draft what makes one field of another, which has its name already."""
        if isinstance(old.type, SampleOf) and isinstance(new.type, SampleOf) and not reached(old, [], new):
            self.lead(
                {part.name: part for part in old.type.fields}, {part.name: part for part in new.type.fields}, path
            )
            return
        changes = way(old, new)
        for value, why in self._asked(old, new, path) if changes is None else changes:
            self.add(why, op=value["op"], field=shown(path), **{key: value[key] for key in value if key != "op"})

    def add(self, why: str, **value: Any) -> None:
        """Add a step."""
        self.steps.append(DraftedStep(value, why))

    def ask(self, question: str, guess: Any = _NOTHING) -> Open:
        """Ask a question; the open place that its answer fills."""
        self.questions.append(question)
        return Open(len(self.questions), guess)

    def value_of(self, path: Path, new: Field, why: str) -> Open:
        """Ask for the value of a field that all samples get."""
        return self.ask(f"{shown(path)} {why}: which value ({new.shown}) do all samples get?")

    def _asked(self, old: Field, new: Field, path: Path) -> list[Change]:
        """The steps for a change of unit that no exact factor makes."""
        if old.unit is None:
            said = f"{shown(path)} is in {new.unit}, and no unit was said before"
            factor = self.ask(f"{said}: was it the same? Else by what is it to be multiplied?", 1)
        else:
            known = conversion(old.unit, str(new.unit))
            exact = (
                "is not known"
                if known is None
                else f"is {known[0]}, which is no decimal, as near as {shown_decimal(known[0])}"
            )
            said = f"{shown(path)} was in {old.unit} and is in {new.unit}; the factor {exact}"
            factor = self.ask(f"{said}: by what is it to be multiplied?")
        rest = way(dataclasses.replace(old, unit=new.unit), new) or []
        return [({"op": "scale", "factor": factor, "unit": new.unit}, "the unit changed"), *rest]


class _Level:
    """Fields beside each other that went and came."""

    def __init__(self, draft: Draft, at: Path, gone: Fields, come: Fields) -> None:
        self._draft, self._at = draft, at
        self._changed = {name: gone[name] for name in gone if name in come}  # under one name, and nothing in common
        self._gone = {name: field for name, field in gone.items() if name not in come}
        self._come = {name: field for name, field in come.items() if name not in gone}
        self._new = come
        self._steps: list[Callable[[], None]] = []

    def draft(self) -> None:
        """Draft the steps: what goes first, so that its name is free; then what is put elsewhere; then what is new."""
        self._nest()
        self._rename()
        self._ask_renames()
        self._part()
        for name in (*self._changed, *self._gone):
            why = "no step makes what it is now" if name in self._changed else "it is gone"
            self._draft.add(why, op="drop", field=self._path(name))
        for step in self._steps:
            step()
        for name, field in self._new.items():
            if name in self._come or name in self._changed:
                self._add(name, field)

    def _path(self, name: str) -> str:
        return shown((*self._at, name))

    def _take(self, gone: Iterable[str], come: Iterable[str], step: Callable[[], None]) -> None:
        for name in gone:
            del self._gone[name]
            self._draft.carried += 1
        for name in come:
            del self._come[name]
        self._steps.append(step)

    def _nest(self) -> None:
        """Find the samples of fields that were beside each other, and the reverse."""
        for whole, there, inward in ((self._come, self._gone, True), (self._gone, self._come, False)):
            found = {
                name: [part.name for part in field.type.fields]
                for name, field in whole.items()
                if isinstance(field.type, SampleOf)
                and field.type.fields
                and all(part.name in there and _is_moved(part, there[part.name], inward) for part in field.type.fields)
            }
            for name, parts in found.items():
                if sum(not {*parts}.isdisjoint(other) for other in found.values()) == 1:
                    self._nested(name, whole[name], parts) if inward else self._hoisted(name, parts)

    def _nested(self, name: str, field: Field, parts: list[str]) -> None:
        kind: Any = field.type
        why = f"{name} has fields of these names and types"
        value = {"op": "nest", "fields": [self._path(part) for part in parts], "to": self._path(name)}
        self._take(parts, [name], lambda: self._draft.add(why, **value, name=kind.name))

    def _hoisted(self, name: str, parts: list[str]) -> None:
        why = f"the fields of {name} stand beside the others"
        self._take([name], parts, lambda: self._draft.add(why, op="hoist", field=self._path(name)))

    def _rename(self) -> None:
        """Find the fields that have another name, of which one is the most likely."""
        for one, other in _likeliest(self._gone, self._come):
            self._moved(one, other, "the names are alike")

    def _ask_renames(self) -> None:
        """Find the fields whose names are not alike, and that alone have one type."""
        alike = [
            (one, other)
            for one, other in self._pairs()
            if _is_same(self._gone[one], self._come[other]) and not _is_apart(one, other)
        ]
        for one, other in alike:
            if sum(pair[0] == one or pair[1] == other for pair in alike) == 1:
                question = f"the names {one} and {other} are not alike, but their types are: is {other} what {one} was?"
                self._moved(one, other, "only these two are alike", question)

    def _moved(self, one: str, other: str, why: str, question: str | None = None) -> None:
        old, new = self._gone[one], self._come[other]

        def step() -> None:
            path = self._path(one)
            place = path if question is None else self._draft.ask(question, path)
            self._draft.add(why, op="rename", field=place, to=other)
            self._draft.change(old, new, (*self._at, other))

        self._take([one], [other], step)

    def _pairs(self) -> list[tuple[str, str]]:
        if len(self._gone) * len(self._come) > _MOST:
            return []
        return [(one, other) for one in self._gone for other in self._come]

    def _part(self) -> None:
        """Find the one field that may be in parts now, and the reverse."""
        for whole, there, op in ((self._gone, self._come, "split"), (self._come, self._gone, "join")):
            for kind in (_is_text, _is_array):
                wholes, parts = ([name for name in side if kind(side[name])] for side in (whole, there))
                if len(wholes) == 1 and (found := _parts_of(wholes[0], parts)):
                    fields = [there[name] for name in found]
                    if {field.unit for field in fields} == {whole[wholes[0]].unit}:
                        self._parted(op, wholes[0], found, fields)

    def _parted(self, op: str, whole: str, parts: list[str], fields: list[Field]) -> None:
        text = _is_text(fields[0])
        index = None if text else _first_size(fields[0])
        if not text and len(parts) != 2:
            return
        key, guess = ("separator", " ") if text else ("index", _NOTHING if index is None else index)
        are = f"{', '.join(parts)} {'are parts of' if op == 'split' else 'are put together to'} {whole}"
        how = "with what between them" if text else "with how many items in the first"
        question = f"it is a guess that {are}: is it so, in this order, and {how}?"

        def step() -> None:
            place = self._draft.ask(question, guess)
            names: dict[str, Any] = {"field": self._path(whole), "to": parts}
            if op == "join":
                names = {"fields": [self._path(part) for part in parts], "to": self._path(whole)}
            self._draft.add("a guess", op=op, **names, **{key: place})

        self._take(*(([whole], parts) if op == "split" else (parts, [whole])), step)

    def _add(self, name: str, field: Field) -> None:
        path = (*self._at, name)
        old = self._changed.get(name)
        alike = [
            one for one, other in self._pairs() if other == name and _is_likely(one, other, self._gone[one], field)
        ]
        value: Any = None
        if old is not None:
            value = self._draft.value_of(path, field, f"was {old.shown}, of which no step makes {field.shown}")
        elif alike:
            what = f"may be what {' or '.join(alike)} was (then rename it, in place of two steps), or is new"
            value = self._draft.value_of(path, field, what)
        elif not isinstance(field.type, Maybe):
            value = self._draft.value_of(path, field, "is new, and no sample goes without")
        elif len(self._gone) * len(self._come) > _MOST:
            value = self._draft.value_of(path, field, "is new, or one of the many that are gone")
        why = "it is new, and may be None" if value is None else "it is new"
        self._draft.add(why, op="add", field=shown(path), type=node_of(field), value=value)


# --- fields that are alike


def _likeliest(gone: Fields, come: Fields) -> list[tuple[str, str]]:
    """The pairs of fields of alike names, of which none has a rival that is as likely."""
    if len(gone) * len(come) > _MOST:
        return []
    scores = {
        (one, other): score - cost
        for one, old in gone.items()
        for other, new in come.items()
        if (score := likeness(one, other)) >= ALIKE and (cost := _cost(old, new)) is not None
    }
    return [
        (one, other)
        for (one, other), score in scores.items()
        if all(
            score >= rival + _APART
            for pair, rival in scores.items()
            if pair != (one, other) and (pair[0] == one or pair[1] == other)
        )
    ]


def _cost(old: Field, new: Field) -> float | None:
    """The cost of making one field of another; `None` where there is no way."""
    changes = way(old, new)
    if changes is not None:
        return _COST * len(changes)
    return None if isinstance(old.type, SampleOf) or not has_way(old, new) else 2 * _COST


def _is_moved(part: Field, beside: Field, inward: bool) -> bool:
    """True if a field of a sample and one beside it are the same, in the direction of the change."""
    return reached(beside, [], part) if inward else reached(part, [], beside)


def _is_same(old: Field, new: Field) -> bool:
    """True if only the unit differs, if anything does."""
    changes = way(old, new)
    return changes is not None and all(value["op"] == "scale" and value["unit"] is not None for value, _ in changes)


def _is_apart(one: str, other: str) -> bool:
    """True if two names are told apart by numbers: `x1` and `x2` are two things."""
    return [*filter(str.isdigit, words(one))] != [*filter(str.isdigit, words(other))]


def _is_likely(one: str, other: str, old: Field, new: Field) -> bool:
    changes = way(old, new)
    return changes is not None and (likeness(one, other) >= ALIKE or _is_same(old, new))


def _is_text(field: Field) -> bool:
    return field.type == Scalar("str")


def _is_array(field: Field) -> bool:
    return isinstance(field.type, Array) and field.type.scalar is not None


def _first_size(field: Field) -> int | None:
    kind: Any = field.type
    return kind.shape.dims[0] if kind.shape is not None and kind.shape.dims else None


def _parts_of(whole: str, names: list[str]) -> list[str] | None:
    """The fields that may be parts of one: those that have its name in theirs, those that are named so, or the only two."""
    named = [name for name in names if {*words(whole)} < {*words(name)}]
    if len(named) > 1:
        return named
    for known in _PARTS:
        found = [name for word in known for name in names if word in words(name)]
        if len(found) == len(known):
            return found
    return names if len(names) == 2 else None


def _written(value: Any) -> str:
    """The JSON of a value; open places stand in it as they are, so that a draft is none."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)}: {_written(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return str(value) if isinstance(value, Open) else json.dumps(value, ensure_ascii=False)
