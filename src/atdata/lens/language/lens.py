"""A program as a lens between two sample types."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from atdata.arguments import checked_list, checked_map, checked_type
from atdata.errors import LensError, NoHomeError
from atdata.lens.complement import Complement, digest_of
from atdata.lens.functions import Composed, Lens, Recast, are_joined
from atdata.lens.language.binding import BoundStep
from atdata.lens.language.declared import tolerances_of
from atdata.lens.language.program import Program, bare_field
from atdata.lens.language.trees import Tree, added, removed, values_of
from atdata.lens.types import another_type, closer, coder, opener
from atdata.lens.ulps import Tolerances, Ulps, are_near
from atdata.numbers import checked_int
from atdata.samples import fields_of
from atdata.samples.codec import pack, unpack
from atdata.samples.kinds import Misfit
from atdata.samples.packable import is_plain, maker_of
from atdata.samples.stacking import stack

if TYPE_CHECKING:
    from atdata.lens.laws import LawReport

S = TypeVar("S")
V = TypeVar("V")
W = TypeVar("W")


class _Side:
    """A sample type, whose samples become trees and come of them."""

    def __init__(self, sample_type: type[Any]) -> None:
        fields = fields_of(sample_type)
        self.sample_type, self.names = sample_type, tuple(field.name for field in fields)
        self.kinds = {field.name: field.type for field in fields}
        self.openers = {field.name: opener(field.type) for field in fields}
        self.closers = {field.name: closer(field.type) for field in fields}
        self.coders = {field.name: coder(field.type) for field in fields}
        self._make = maker_of(sample_type)

    def opened(self, sample: Any) -> Tree:
        """The tree of a sample."""
        try:
            return {
                name: getattr(sample, name) if convert is None else convert(getattr(sample, name))
                for name, convert in self.openers.items()
            }
        except (Misfit, AttributeError, TypeError):
            raise another_type(self.sample_type, sample) from None

    def closed(self, tree: Tree) -> Any:
        """The sample of a tree."""
        return self._make(
            {name: tree[name] if close is None else close(tree[name]) for name, close in self.closers.items()}
        )

    def holds(self, tree: Tree) -> bool:
        """True if the type takes the values of a tree."""
        try:
            self.checked(tree)
        except NoHomeError:
            return False
        return True

    def checked(self, tree: Tree) -> Tree:
        """A tree whose values the type takes.

        Raises:
            NoHomeError: it does not take one.
        """
        for name, code in self.coders.items():
            try:
                code(tree[name])
            except Misfit as misfit:
                raise NoHomeError(
                    f"a value has no place in {self.sample_type.__name__}",
                    path=name + misfit.path,
                    expected=misfit.expected,
                    actual=misfit.actual,
                ) from None
        return tree


class DataLens(Lens[S, V]):
    """A lens that is a program: its steps one after the other, and back.

    Attributes:
        program: the program.
        steps: its steps, which know their types.

    Raises:
        LensError: the program does not lead from the whole of the one type to the whole of the other.
    """

    def __init__(self, program: Program, source_type: type[S], view_type: type[V], name: str = "program") -> None:
        checked_type(program, Program, "program", "Give a program: Program.of(...), or Program.parse(text).")
        super().__init__(self._see, self._put_back, source_type=source_type, view_type=view_type, name=name)
        self.program, self.steps = program, program.bind(source_type, view_type)
        self._source, self._view = _Side(source_type), _Side(view_type)
        fields = {field.name: bare_field(field) for field in fields_of(source_type)}
        self._tolerances, self._looked_at_again = tolerances_of(self.steps, fields)

    @property
    def losses(self) -> tuple[str, ...]:
        """The losses of the view, for people; none where the sample follows from it."""
        return tuple(step.loss for step in self.steps if step.loss is not None)

    def check_laws(
        self,
        samples: Iterable[S] = (),
        views: Iterable[V] = (),
        *,
        count: int | None = None,
        seed: str = "",
        rounding: Mapping[str, Ulps | int] | None = None,
    ) -> LawReport:
        """See `Lens`. Where no samples are given, this tries what `atdata lens check` does."""
        given, put = checked_list(samples, object, "samples"), checked_list(views, object, "views")
        if given or put or count == 0 or rounding is not None:
            return super().check_laws(given, put, count=count, seed=seed, rounding=rounding)  # type: ignore[arg-type]
        from atdata.lens.language.trying import try_program
        from atdata.lens.laws import COUNT

        report = try_program(self, count=COUNT if count is None else checked_int(count, "count"), seed=seed)
        report.raise_for_failure()
        return report

    def explain(self) -> str:
        """The steps and the losses as text."""
        lines = [f"{number + 1}. {step.text}" for number, step in enumerate(self.steps)]
        return "\n".join([*lines, *(f"loses: {loss}" for loss in self.losses)])

    def __str__(self) -> str:
        return f"{self.name} {self.program.cid}"

    # --- composition

    def then(self, other: Lens[V, W]) -> Lens[S, W]:
        """See `Lens`. Two programs are one, which has a complement and declares what both round; but not where the class
        between them computes what its samples hold, or where one program cannot say it.
        """
        why = ""
        if isinstance(other, Recast) and are_joined(self, other):
            return self._between(self.source_type, other.view_type)
        if isinstance(other, DataLens) and are_joined(self, other):
            if is_plain(self.view_type) and is_plain(other.source_type):
                try:
                    return DataLens(
                        self.program.then(other.program),
                        self.source_type,
                        other.view_type,
                        f"{self.name}.{other.name}",
                    )
                except LensError as error:
                    why = error.what
            else:
                why = f"{self.view_type.__name__} computes what its samples hold"
            return Composed(self, other, why)
        return super().then(other)

    def _between(self, source_type: type[Any], view_type: type[Any]) -> Lens[Any, Any]:
        changed = {self.source_type, self.view_type} - {source_type, view_type}
        if not all(map(is_plain, changed)):
            return super()._between(source_type, view_type)
        return DataLens(self.program, source_type, view_type, self.name)

    @property
    def _unknown(self) -> str:
        return ""

    # --- get and put

    def _see(self, source: S) -> V:
        tree = opened = self._source.opened(source)
        try:
            for step in self.steps:
                tree = step.get(tree)
        except (TypeError, ValueError, AttributeError, KeyError):
            if self._source.holds(opened):
                raise
            name = self.source_type.__name__
            raise LensError(f"a sample is no {name}: a field has a value of another type", expected=name) from None
        view: V = self._view.closed(tree)
        return view

    def _put_back(self, view: V, source: S) -> S:
        trees = self._trees(source)
        tree = self._view.opened(view)
        for step, before in zip(reversed(self.steps), reversed(trees[:-1]), strict=True):
            tree = step.put(tree, before)
        self._check_seen_again(view, tree)
        back: S = self._source.closed(self._source.checked(tree))
        return back

    def _check_seen_again(self, view: V, source: Tree) -> None:
        """Check PutGet where a step converts what another has rounded, such as to text: each step alone keeps it.

        Raises:
            NoHomeError: what is put would be seen as something else.
        """
        if not self._looked_at_again:
            return
        given, seen = self._view.opened(view), source
        for step in self.steps:
            seen = step.get(seen)
        for name in self._looked_at_again:
            code = self._view.coders[name]
            if not are_near(self._tolerances.view[name], code(given[name]), code(seen[name])):
                raise NoHomeError(
                    "a changed view would not be seen again as it is, since numbers are rounded",
                    path=name,
                    expected=f"{given[name]!r:.60}",
                    actual=f"{seen[name]!r:.60}",
                    hint="Change it to what is seen.",
                )

    def _trees(self, source: S) -> list[Tree]:
        """The sample before and after each step."""
        trees = [self._source.opened(source)]
        for step in self.steps:
            trees.append(step.get(trees[-1]))
        return trees

    def source_of(self, view: V, source: S, number: int = 0) -> S:
        """A sample that has a view like this one, as far as the program can say what that takes.

        Args:
            view: what is wanted.
            source: what the program leaves open is taken from here.
            number: chooses among the values that a step knows, where it knows few.

        Raises:
            UsageError: the number is none.
            NoHomeError: none can be made.
        """
        tree, number = self._view.opened(view), checked_int(number, "number")
        for step in reversed(self.steps):
            tree = _put_what_is_taken(step, tree, number)
        found: S = self._source.closed(self._source.checked(self._source.opened(source) | tree))
        return found

    # --- columns

    def reads(self, names: Collection[str] | None = None) -> tuple[str, ...] | None:
        """See `Lens`."""
        if not is_plain(self.view_type):
            return None
        asked = self._view.names if names is None else checked_list(names, str, "names")
        needed = {name for name in self._view.names if name in asked}
        dropped = set[str]()  # what a step makes may have no view, and is looked at although it is dropped
        for step in reversed(self.steps):
            made, taken = ({path[0] for path in paths} for paths in (step.outputs, step.inputs))
            whole = {path[0] for path in step.outputs if len(path) == 1}
            if needed & made or (names is None and dropped & made and not step.moves):
                needed = (needed - whole) | taken
            elif dropped & made or not made:
                dropped = (dropped - whole) | taken
        return tuple(name for name in self._source.names if name in needed)

    def map_columns(self, columns: Mapping[str, Any], count: int) -> dict[str, Any]:
        """See `Lens`."""
        mapped = _converted(checked_map(columns, "columns"), self._source.openers)
        for step in self.steps:
            mapped = step.map_columns(mapped, count)
        return _converted(mapped, self._view.closers)

    # --- complements

    def complement(self, source: S) -> Complement:
        """The complement of the view of a sample: all that it lacks.

        Raises:
            NoHomeError: the sample has no view.
        """
        trees = self._trees(source)
        found, lacking = self._found(trees[-1]), {}
        for name, code in self._source.coders.items():
            stored = code(trees[0][name])
            if name not in found or not _is_stored_as(code, found[name], stored):
                lacking[name] = stored
        return Complement(digest_of(self._view.closed(trees[-1])), digest_of(source), pack(lacking))

    def restore(self, view: V, complement: Complement, changed: V | None = None) -> S:
        """The sample that a view and its complement are; where the view was changed since, as it is then.

        Args:
            view: as it was seen.
            complement: what was made of the sample.
            changed: what the view has become.

        Raises:
            LensError: the complement is that of another sample.
        """
        checked_type(complement, Complement, "complement", "Give what lens.complement(sample) made.")
        checked_type(view, self.view_type, "view", "Give the view as it was seen.")
        complement.check_view(digest_of(view))
        tree = self._found(self._view.opened(view))
        for name, stored in unpack(complement.values).items():
            if name in self._source.kinds:
                value, convert = self._source.kinds[name].decoder(stored), self._source.openers[name]
                tree[name] = value if convert is None else convert(value)
        missing = set(self._source.names) - tree.keys()
        source: S | None = None if missing else self._source.closed(tree)
        complement.check_source("" if source is None else digest_of(source))
        assert source is not None
        return source if changed is None else self.put(changed, source)

    def _found(self, view: Tree) -> Tree:
        """The fields of the source that follow from a view alone."""
        for step in reversed(self.steps):
            try:
                view = step.put(view, None)
            except (NoHomeError, KeyError):
                return {}
        return {name: value for name, value in view.items() if name in self._source.kinds}

    @property
    def tolerances(self) -> Tolerances:
        """See `Lens`: what the operations of the program round."""
        return self._tolerances

    def __reduce__(self) -> tuple[Any, ...]:
        return DataLens, (self.program, self.source_type, self.view_type, self.name)


def _converted(columns: Mapping[str, Any], converters: Mapping[str, Callable[[Any], Any] | None]) -> Tree:
    """The columns of some fields, each value converted."""
    return {
        name: columns[name] if convert is None else stack(list(map(convert, values_of(columns[name]))))
        for name, convert in converters.items()
        if name in columns
    }


def _is_stored_as(code: Any, value: Any, stored: Any) -> bool:
    try:
        return pack({"": code(value)}) == pack({"": stored})
    except Misfit:
        return False


def _put_what_is_taken(step: BoundStep, tree: Tree, number: int) -> Tree:
    """The source of a tree, or of one with values instead that the step knows.

    Raises:
        NoHomeError: it has none, and the step knows no others.
    """
    try:
        return step.put(tree, None)
    except NoHomeError:
        known = step.known()
        if not known:
            raise
    for path, value in zip(step.outputs, known[number % len(known)], strict=True):
        tree = added(removed(tree, path), path, value)
    return step.put(tree, None)
