"""The collections records live in: today's, which are written, and the older ones, which are read (formats.md 2)."""

from __future__ import annotations

from functools import lru_cache

from atdata.atproto.syntax import Nsid

SCHEMA = Nsid("science.alt.dataset.schema")
ENTRY = Nsid("science.alt.dataset.entry")
LENS = Nsid("science.alt.dataset.lens")
LABEL = Nsid("science.alt.dataset.label")
LENS_VERIFICATION = Nsid("science.alt.dataset.lensVerification")

LEGACY = {
    Nsid("ac.foundation.dataset.sampleSchema"): SCHEMA,
    Nsid("ac.foundation.dataset.record"): ENTRY,
    Nsid("ac.foundation.dataset.lens"): LENS,
    Nsid("ac.foundation.dataset.label"): LABEL,
}


@lru_cache(maxsize=64)
def today(collection: str) -> str:
    """The collection in which such records are written today; itself where it is one, or is none of ours."""
    nsid = Nsid(collection)
    return LEGACY.get(nsid, nsid)


def collections(nsid: Nsid) -> tuple[Nsid, ...]:
    """Every collection such records may be in: today's first."""
    return (nsid, *(old for old, new in LEGACY.items() if new == nsid))
