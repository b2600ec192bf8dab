"""The lexicons of all methods: the published ones, and ours."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

import msgspec

from atdata.appview.xrpc.openapi import openapi_of
from atdata.atproto.lexicon import LexiconCatalog

NAMESPACE = "science.alt.dataset"
_FOLDERS = ("atdata.records", "atdata.appview")


@cache
def method_lexicons() -> LexiconCatalog:
    """The lexicons of records and methods, which refer to each other."""
    return LexiconCatalog(_documents())


@cache
def description() -> dict[str, Any]:
    """The methods in OpenAPI."""
    from atdata import __version__

    return openapi_of(_documents(), "An atdata AppView", __version__)


def _documents() -> list[Any]:
    folders = [files(room) / "lexicons" / "science" / "alt" / "dataset" for room in _FOLDERS]
    return [msgspec.json.decode(file.read_bytes()) for folder in folders for file in folder.iterdir()]
