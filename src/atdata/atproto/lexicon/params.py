"""Reading the parameters of a method from the text of a query string."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from atdata.atproto.cbor import Value
from atdata.atproto.datamodel import Place, shown
from atdata.atproto.lexicon.document import Definition
from atdata.errors import LexiconError

_INTEGER = re.compile(r"-?[0-9]{1,16}")
_BOOLEANS = {"true": True, "false": False}


def params_of(pairs: Iterable[tuple[str, str]], spec: Definition) -> dict[str, Value]:
    """The values that names and texts stand for, with the defaults of those that are not given; names that a method does
    not have are passed over.

    Raises:
        LexiconError: a text is not of its type, or a single value is given twice; `path` names it.
    """
    texts: dict[str, list[str]] = {}
    for name, text in pairs:
        if name in spec["properties"]:
            texts.setdefault(name, []).append(text)
    found: dict[str, Value] = {}
    for name, inner in spec["properties"].items():
        given, here = texts.get(name), Place() / name
        if given is None:
            if "default" in inner:
                found[name] = inner["default"]
        elif inner["type"] == "array":
            found[name] = [_read(text, inner["items"]["type"], here / index) for index, text in enumerate(given)]
        elif len(given) > 1:
            raise LexiconError("a parameter is given twice", path=str(here))
        else:
            found[name] = _read(given[0], inner["type"], here)
    return found


def _read(text: str, kind: str, here: Place) -> Any:
    match kind:
        case "boolean" if text in _BOOLEANS:
            return _BOOLEANS[text]
        case "integer" if _INTEGER.fullmatch(text):
            return int(text)
        case "string":
            return text
    raise LexiconError("a parameter has the wrong type", path=str(here), expected=kind, actual=shown(text))
