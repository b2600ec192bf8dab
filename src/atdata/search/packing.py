"""Facts of thousands of documents at once: text that is joined in the database, and cut into numbers here."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from atdata.search.facets import COUNTED, FacetKind

Numbers: TypeAlias = NDArray[np.int64]
Codes: TypeAlias = NDArray[np.uint32]

HEAD, CODE = 30, 5
"""Characters of a head, and of the code of a facet: digits to the base 64."""

_OBJECTS = 1000  # bytes of what holds five arrays
_SPACE, _ZERO = ord(" "), ord("0")
_DIGITS = "".join(chr(_ZERO + digit) for digit in range(64))
_ID, _TIME, _RANK = 9, 11, 10
_BIAS = 2**62  # times may be before 1970
_KIND_BITS = 4
_KINDS = 1 << _KIND_BITS
MAX_FACET = 2**30 // _KINDS
"""The number of facets that have a code; one that comes later is filtered by, and not counted."""

assert max(COUNTED) < _KINDS


def head(number: int, sorted_at: int, uri: str) -> str:
    """The head of a document."""
    return _packed(number, _ID) + _packed(sorted_at + _BIAS, _TIME) + _packed(rank_of(uri), _RANK)


def rank_of(uri: str) -> int:
    """The rank of an address, which decides between records of one score and time, in every database: a digest's first 60 bits."""
    digest = blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest) >> 64 - 6 * _RANK


def codes(facets: Iterable[tuple[int, FacetKind]]) -> str:
    """The codes of facets, of each its number and kind."""
    return "".join(_code(number, kind) for number, kind in facets if number < MAX_FACET)


@lru_cache(maxsize=4096)  # of a few facets most documents have several
def _code(number: int, kind: FacetKind) -> str:
    return _packed(number * _KINDS + kind, CODE)


class RowGroup(NamedTuple):
    """Documents, in the order of their numbers.

    Attributes:
        numbers: of the documents.
        times: of each, in microseconds since 1970.
        ranks: of each, `rank_of` its address.
        starts: the place of the first code of each, and at the end the number of codes.
        codes: those of the facets of all.
    """

    numbers: Numbers
    times: Numbers
    ranks: Numbers
    starts: Numbers
    codes: Codes

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(column.nbytes for column in self) + _OBJECTS


def read_rows(text: str) -> RowGroup:
    """Documents, of each its head and its codes; between them stand spaces."""
    raw = np.frombuffer(text.encode("ascii"), np.uint8)
    ends = np.append(np.flatnonzero(raw == _SPACE), len(raw))[: len(raw)]  # of nothing there is no end
    begins = np.append(0, ends[:-1] + 1)[: len(ends)]
    places = begins[:, None] + np.arange(HEAD)
    heads = raw[places] - _ZERO
    coded = raw != _SPACE
    coded[places.ravel()] = False
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum((ends - begins - HEAD) // CODE)))
    codes = _numbers((raw[coded] - _ZERO).reshape(-1, CODE), np.uint32)
    numbers, times, ranks = (_numbers(part) for part in np.split(heads, [_ID, _ID + _TIME], axis=1))
    return RowGroup(numbers, times - _BIAS, ranks, starts, codes)


def count_codes(values: Codes) -> tuple[Numbers, Numbers, Numbers]:
    """The numbers of facets, their kinds, and how often each is there."""
    numbers = (values >> _KIND_BITS).astype(np.intp)
    counts = np.bincount(numbers)
    kinds = np.zeros(len(counts), np.int64)
    kinds[numbers] = values & (_KINDS - 1)
    found = np.flatnonzero(counts)
    return found, kinds[found], counts[found]


def read_ids(text: str | None) -> Numbers:
    """Numbers with commas between them."""
    return np.fromstring(text, dtype=np.int64, sep=",") if text else np.empty(0, np.int64)


def _packed(number: int, width: int) -> str:
    return "".join(_DIGITS[number >> shift & 63] for shift in range(6 * (width - 1), -1, -6))


def _numbers(digits: NDArray[Any], dtype: Any = np.int64) -> NDArray[Any]:
    found = digits[:, 0].astype(dtype)
    for place in range(1, digits.shape[1]):
        found <<= 6
        found |= digits[:, place]
    return found
