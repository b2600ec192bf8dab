"""The part of a page on which samples are looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from atdata.preview.shown import NOTHING, Preview
from atdata.preview.statistics import DatasetStatistics


@dataclass(frozen=True)
class PreviewSection:
    """Samples and statistics on a page, or the way to them.

    Attributes:
        state: `shown`; `offered`, where nobody has asked for them yet; or `pending`, while they are being fetched.
        preview: the samples, or why there are none.
        statistics: of their values.
        verified: whether each was held against what somebody signed.
        ask: the address that has them fetched, or looks again.
        each: the address of one sample, without its number.
        browse: the address of all samples.
        before, after: the addresses of those before and after.
        splits: the names of splits, where there are several, each with its address; without one that which is shown.
    """

    state: Literal["shown", "offered", "pending"]
    preview: Preview = NOTHING
    statistics: DatasetStatistics | None = None
    verified: bool = False
    ask: str = ""
    each: str = ""
    browse: str = ""
    before: str = ""
    after: str = ""
    splits: tuple[tuple[str, str], ...] = ()
