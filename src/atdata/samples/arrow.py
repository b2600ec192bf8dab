"""pyarrow, and the array that ragged values are to it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from atdata.errors import MissingExtraError, SampleError

INT32_MAX = 2**31 - 1


def list_array(values: NDArray[Any], offsets: NDArray[np.int64]) -> Any:
    """See `Ragged.to_arrow`."""
    pa = arrow()
    try:
        array = pa.array(values.reshape(-1).astype(values.dtype.newbyteorder("="), copy=False))
        for size in reversed(values.shape[1:]):
            array = pa.FixedSizeListArray.from_arrays(array, size)
        if len(values) > INT32_MAX:
            return pa.LargeListArray.from_arrays(pa.array(offsets), array)
        return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), array)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SampleError("no Arrow type holds the values", path="values", actual=str(error)[:160]) from None


@lru_cache(maxsize=1)
def arrow() -> Any:
    """pyarrow, with its parts, imported on first use.

    Raises:
        MissingExtraError: it is not installed.
    """
    try:
        import pyarrow.compute
        import pyarrow.parquet
        import pyarrow.types
    except ImportError as error:
        raise MissingExtraError.of("tables", "tables of Arrow and Parquet") from error
    return pyarrow
