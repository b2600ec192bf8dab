"""Arrays as those of JAX, and classes as its trees."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError

_registered = set[type]()


def register_tree(cls: type[Any], leaves: Callable[[Any], Any], of_leaves: Callable[[Any, Any], Any]) -> None:
    """Register a class as a kind of tree, once JAX has been imported.

    Args:
        cls: the class.
        leaves: gives the leaves of an object, and its structure, in which the second part is their names.
        of_leaves: makes an object of a structure and leaves.
    """
    if cls in _registered or "jax.tree_util" not in sys.modules:
        return
    tree_util: Any = sys.modules["jax.tree_util"]
    if not hasattr(tree_util, "register_pytree_with_keys"):  # while it is being imported
        return

    def with_keys(tree: Any) -> tuple[list[tuple[Any, Any]], Any]:
        found, structure = leaves(tree)
        keys = map(tree_util.DictKey, structure[1])
        return list(zip(keys, found, strict=True)), structure

    _registered.add(cls)
    tree_util.register_pytree_with_keys(cls, with_keys, of_leaves, leaves)


def array(name: str, values: NDArray[Any]) -> Any:
    """The array of JAX; of what are no numbers, a list. An integer is never cut to 32 bits.

    Raises:
        MissingExtraError: JAX is not installed.
        SampleError: JAX has no such dtype, or a number does not fit the one that it has; `path` is the name.
    """
    if values.dtype.kind not in "biufc":
        return values.tolist()
    jax = _jax()
    values = values.astype(values.dtype.newbyteorder("="), copy=False)
    try:
        narrow = jax.dtypes.canonicalize_dtype(values.dtype)
    except TypeError:
        raise SampleError("JAX has no such dtype", path=name, actual=str(values.dtype)) from None
    if narrow != values.dtype and values.dtype.kind in "iu" and values.size:
        limits = np.iinfo(narrow)
        if int(values.min()) < limits.min or int(values.max()) > limits.max:
            raise SampleError(
                f"a number needs more than {8 * narrow.itemsize} bits",
                path=name,
                expected=f"{narrow}, which JAX has for {values.dtype}",
                actual=f"{values.min()} to {values.max()}",
                hint='Let JAX have 64 bits: jax.config.update("jax_enable_x64", True). Or leave the field out.',
            )
    return jax.numpy.asarray(values)


def ragged(name: str, values: NDArray[Any], offsets: NDArray[Any]) -> dict[str, Any]:
    """Ragged values as two arrays. Raises as `array`."""
    return {"values": array(name, values), "offsets": array(name, offsets)}


def sparse(name: str, matrix: Any) -> Any:
    """A `csr_array` as a `BCSR`. Raises as `array`."""
    parts = tuple(array(name, part) for part in (matrix.data, matrix.indices, matrix.indptr))
    from jax.experimental.sparse import BCSR

    return BCSR(parts, shape=matrix.shape)


@lru_cache(maxsize=1)
def _jax() -> Any:
    try:
        import jax
    except ImportError as error:
        raise MissingExtraError.of("jax", "making arrays of JAX") from error
    return jax
