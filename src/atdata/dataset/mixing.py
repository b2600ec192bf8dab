"""Datasets made of several: mixed, and one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

from atdata.arguments import checked_type
from atdata.dataset.combined import ONE_TYPE, CombinedView, Concatenation, unlike
from atdata.dataset.dataset import Dataset, dataset_of
from atdata.dataset.mixture import Mixture, Stop
from atdata.dataset.transforms import Map, function_name
from atdata.dataset.view import View
from atdata.dataset.weights import Weight
from atdata.errors import LensNotFoundError, UsageError
from atdata.samples import DictSample, fields_of

T = TypeVar("T")


@overload
def mix(
    datasets: Mapping[Dataset[T], Weight] | Sequence[tuple[Dataset[T], Weight]], *, seed: int = 0, stop: Stop = "first"
) -> Dataset[T]: ...
@overload
def mix(
    datasets: Mapping[Dataset[Any], Weight] | Sequence[tuple[Dataset[Any], Weight]],
    *,
    seed: int = 0,
    stop: Stop = "first",
) -> Dataset[Any]: ...
def mix(
    datasets: Mapping[Dataset[Any], Weight] | Sequence[tuple[Dataset[Any], Weight]],
    *,
    seed: int = 0,
    stop: Stop = "first",
) -> Dataset[Any]:
    """The samples of several datasets, each as often as its weight says: after n samples within one of n times its share,
    for every n and however many there are.

    Which dataset stands at a position of an epoch depends on the weights and the position alone. Shuffles are of each
    dataset. A filtered one counts with the samples before its filter. The mixture is a dataset: it has a length before it is
    read, unless something filters, and it can be read by ranks and workers, seen through lenses, mapped, filtered and resumed.
    All are seen as samples of the first one's type, through the registered lenses.

    Example:
        >>> import atdata
        >>> @atdata.packable
        ... class Word:
        ...     text: str
        >>> def words(letter, count):
        ...     return atdata.write_samples([Word(f"{letter}{n}") for n in range(count)], f"{letter}.tar")
        >>> mixed = atdata.mix({words("a", 100): 0.7, words("b", 100): 0.2, words("c", 100): 0.1})
        >>> mixed
        Dataset[Word](mix of 3, 142 samples)
        >>> [word.text for word in mixed.head(10)]
        ['a0', 'a1', 'a2', 'b0', 'a3', 'a4', 'b1', 'a5', 'a6', 'c0']

    Args:
        datasets: each with its weight, a number of any kind; floats are the decimal numbers that they print as. Weights
            are shares of their sum. Pairs, where one dataset comes twice.
        seed: of the orders of the datasets, with the seed of a shuffle.
        stop: where an epoch ends: `first` before a dataset would begin again; `longest` when each was read to its end,
            shorter ones again and again, in another order each time; `all` when each was read once, those that are left in
            their shares; or after this many samples.

    Raises:
        UsageError: there is no dataset, a weight is no number, negative or not finite, or samples without a type have not
            the same fields.
        LensNotFoundError: no lens leads from the type of one to that of the first.
    """
    checked_type(datasets, Iterable, "datasets", "Give {dataset: weight, ...}, or [(dataset, weight), ...].")
    pairs: list[Any] = list(datasets.items()) if isinstance(datasets, Mapping) else list(datasets)
    if not all(isinstance(pair, tuple | list) and len(pair) == 2 for pair in pairs):
        hint = "Give {dataset: weight, ...}, or [(dataset, weight), ...]."
        raise UsageError("mix takes datasets with their weights", path="datasets", hint=hint)
    views = _of_one_type("mix", [dataset for dataset, _ in pairs])
    return dataset_of(Mixture.of(views, [weight for _, weight in pairs], stop, seed))


@overload
def concat(*datasets: Dataset[T]) -> Dataset[T]: ...
@overload
def concat(*datasets: Dataset[Any]) -> Dataset[Any]: ...
def concat(*datasets: Dataset[Any]) -> Dataset[Any]:
    """The samples of several datasets, one dataset after the other. A shuffle is one of all of them.

    All are seen as samples of the first one's type, through the registered lenses.

    Raises:
        UsageError: there is no dataset, or samples without a type have not the same fields.
        LensNotFoundError: no lens leads from the type of one to that of the first.
    """
    views = _of_one_type("concat", datasets)
    return dataset_of(Concatenation(views[0].sample_type, tuple(views)))


def _of_one_type(verb: str, datasets: Sequence[Dataset[Any]]) -> list[View[Any]]:
    """The views of some datasets as samples of the first one's type."""
    for dataset in datasets:
        checked_type(dataset, Dataset, "datasets", f"Give datasets: atdata.{verb}.")
    if not datasets:
        raise UsageError(f"{verb} needs a dataset", path="datasets")
    first = datasets[0].sample_type
    views = [dataset.view if dataset.sample_type is first else _seen(dataset, first) for dataset in datasets]
    if first is DictSample:
        known = [_known_of(view) for view in views]
        for other in known:
            if other != known[0]:
                raise unlike(_said(known[0]), _said(other))
    return views


def _known_of(view: View[Any]) -> Any:
    """The facts about samples without a type that are known before they are read: the function that makes them; else the fields
    that are chosen, with their types; else nothing.
    """
    while isinstance(view, CombinedView):
        view = view.components[0]
    for transform in reversed(view.transforms):  # type: ignore[attr-defined]
        if isinstance(transform, Map):
            return transform.function
    declaring, names = view.about.declaring, view.about.names
    if names is None:
        return None
    kinds = {} if declaring is DictSample else {field.name: field.type for field in fields_of(declaring)}
    return {name: kinds.get(name) for name in names}


def _said(known: Any) -> str:
    if known is None:
        return "samples of a dataset without a type"
    if isinstance(known, dict):
        return ", ".join(name if kind is None else f"{name}: {kind}" for name, kind in known.items())
    return f"what {function_name(known)} gives"


def _seen(dataset: Dataset[Any], kind: type[Any]) -> View[Any]:
    try:
        return dataset.as_type(kind).view
    except (LensNotFoundError, UsageError) as error:
        other = dataset.sample_type.__name__
        raise LensNotFoundError(
            f"samples of {other} cannot be seen as {kind.__name__}",
            expected=f"datasets of one type, or a lens from {other} to {kind.__name__}",
            actual=error.what,
            hint=ONE_TYPE
            if DictSample in (kind, dataset.sample_type)
            else f"Define one with @atdata.lens, or call as_type before: dataset.as_type({kind.__name__}).",
        ) from error
