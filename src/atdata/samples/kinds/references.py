"""The `$ref`s of the lexicon's array formats. Each is matched whole: a stranger's text never selects a format by
resembling one.
"""

from __future__ import annotations

from collections.abc import Iterable

_HOSTS = ("https://json-schema.alt.science/", "https://alt.science/schemas/")
_FORMATS = {
    "ndarrayBytes": ("atdata-ndarray-bytes", "ndarray"),
    "sparseBytes": ("atdata-sparse-bytes", "sparse"),
    "structuredBytes": ("atdata-structured-bytes", "structured"),
    "arrowTensor": ("atdata-arrow-tensor", "tensor"),
    "safetensors": ("atdata-safetensors", "safetensors"),
    "dataframe": ("atdata-dataframe", "dataframe"),
}


def reference(name: str, version: str = "1.0.0") -> str:
    """The `$ref` of an array format, as it is written."""
    return _spelled(_HOSTS[0], name, version)


def references(name: str, versions: Iterable[str] = ("1.0.0",)) -> frozenset[str]:
    """All `$ref`s of an array format that are read."""
    return frozenset(_spelled(host, name, version) for host in _HOSTS for version in versions)


def _spelled(host: str, name: str, version: str) -> str:
    folder, definition = _FORMATS[name]
    return f"{host}{folder}/{version}#/$defs/{definition}"
