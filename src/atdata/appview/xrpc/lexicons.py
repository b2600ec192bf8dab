"""The lexicons of all methods: the published ones, and ours."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from atdata.atproto.lexicon import LexiconCatalog

NAMESPACE = "science.alt.dataset"
_FOLDERS = ("atdata.records", "atdata.appview")


@cache
def method_lexicons() -> LexiconCatalog:
    """The lexicons of records and methods, which refer to each other."""
    folders = [files(room) / "lexicons" / "science" / "alt" / "dataset" for room in _FOLDERS]
    return LexiconCatalog(msgspec.json.decode(file.read_bytes()) for folder in folders for file in folder.iterdir())
