"""States of loaders: what a loader and a state must share, and what is said where they do not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from atdata.errors import ResumeError


def check_identity(state: Any, expected: Mapping[str, Any]) -> None:
    """Refuse a state of other data, of another view of them, or of another order.

    Args:
        state: what a caller gives for one.
        expected: what it must say.

    Raises:
        ResumeError: it says something else; the error says what.
    """
    if not isinstance(state, Mapping):
        raise no_state("type", type(state).__name__)
    state = {"pipeline": expected["pipeline"], **state}  # older states have none
    for name, value in expected.items():
        if not isinstance(state.get(name), int | str) or state[name] != value:
            what, hint = _DIFFERENCES[name]
            actual = repr(state.get(name))[:160]
            raise ResumeError(what, path=name, expected=repr(value)[:160], actual=actual, hint=hint)


def number_in(state: Mapping[str, Any], name: str, default: int) -> int:
    """A number in a state.

    Raises:
        ResumeError: it is none.
    """
    number = state.get(name, default)
    if type(number) is int and 0 <= number < 1 << 63:
        return number
    raise no_state(name, repr(number)[:80])


def no_state(path: str, actual: str) -> ResumeError:
    """The error for something that is no state."""
    return ResumeError(
        "this is not the state of a loader", path=path, actual=actual, hint="Load what state_dict() gave."
    )


_DIFFERENCES = {
    "version": (
        "the state has a version that this release of atdata does not read",
        "Resume with the release of atdata that saved it.",
    ),
    "mode": ("the state was saved in another order", "Make the loader with the same shuffle=."),
    "seed": ("the state was saved with another seed", "Make the loader with the same seed=."),
    "window": ("the state was saved with another window", "Make the loader with the same window=."),
    "plan": (
        "the state was saved over other shards or another selection of samples",
        "Make the loader of the same dataset, or begin anew: loader.set_epoch(n).",
    ),
    "pipeline": (
        "the state was saved over another view of the same samples",
        "Make the loader of a dataset with the same as_type, columns, map and filter, or begin anew: loader.set_epoch(n).",
    ),
}
