"""A set of lexicons that refer to each other, and what can be checked against them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from atdata.atproto.cbor import Value
from atdata.atproto.datamodel import Place, check_record, shown
from atdata.atproto.lexicon.document import Definition, read_document
from atdata.atproto.lexicon.params import params_of
from atdata.atproto.lexicon.values import check_type, check_value
from atdata.atproto.syntax import Nsid, RecordKey, Tid
from atdata.errors import IdentifierError, LexiconError

_RECORD_KEYS = {"tid": Tid, "nsid": Nsid, "any": RecordKey}


class LexiconCatalog:
    """Lexicons by their NSIDs.

    A reference may lead to a lexicon that is not here. Then a member of an open union passes unchecked, as one of a
    type that is still to be invented would; anywhere else the value is refused.

    Args:
        docs: lexicon documents, parsed JSON.

    Raises:
        LexiconError: a document is no lexicon (`uri` is its id), or comes twice.
    """

    def __init__(self, docs: Iterable[Any] = ()) -> None:
        self._definitions: dict[str, Definition] = {}
        self._lexicons: dict[str, Nsid] = {}
        for doc in docs:
            self._add(doc)

    def _add(self, doc: Any) -> None:
        try:
            lexicon, definitions = read_document(doc)
        except LexiconError as error:
            name = doc.get("id") if isinstance(doc, dict) else None
            error.uri = name[:317] if isinstance(name, str) else None
            raise
        if lexicon in self._lexicons:
            raise LexiconError("a lexicon is given twice", uri=lexicon)
        self._lexicons[lexicon] = lexicon
        self._definitions |= definitions

    def __contains__(self, nsid: object) -> bool:
        return nsid in self._lexicons

    def __iter__(self) -> Iterator[Nsid]:
        return iter(self._lexicons.values())

    def __len__(self) -> int:
        return len(self._lexicons)

    def validate_record(
        self, value: object, nsid: str | None = None, rkey: str | None = None, *, checked: bool = False
    ) -> None:
        """Check a record (data model values) against its lexicon.

        Args:
            value: the record.
            nsid: the collection it is in, which its `$type` must then name.
            rkey: its record key, if that is to be checked too.
            checked: whether `check_record` was asked already.

        Raises:
            LexiconError: it breaks its lexicon (`path` names the place, such as `storage.shards[3].url`), or the
                lexicon is not in the catalog.
            DataModelError: it is no record at all.
        """
        record: Any = value if checked else check_record(value)
        name = record.get("$type") if nsid is None else nsid
        if not isinstance(name, str):
            raise LexiconError("a record does not name its type", path="$type", actual=shown(name))
        definition = self._primary(name, "record")
        check_type(record, name, Place())
        if rkey is not None:
            _check_record_key(rkey, definition["key"])
        check_value(record, definition["record"], Place(), self._definitions)

    def members(self, nsid: str) -> frozenset[str]:
        """The names of the members that the lexicon of a record knows.

        Raises:
            LexiconError: it is not in the catalog, or of no record.
        """
        return frozenset(self._primary(nsid, "record")["record"].get("properties", ()))

    def validate_params(self, nsid: str, params: object) -> None:
        """Check the query parameters of a method, converted to booleans, integers, strings and lists of them.

        Raises:
            LexiconError, DataModelError: as `validate_record`.
        """
        check_value(check_record(params), self._params(nsid), Place(), self._definitions)

    def read_params(self, nsid: str, pairs: Iterable[tuple[str, str]]) -> dict[str, Value]:
        """The query parameters of a method that the names and texts of a query string stand for, checked.

        Defaults stand for what is not given; names that the method does not have are passed over.

        Raises:
            LexiconError, DataModelError: as `validate_record`; a text is not of its type, or a single value comes twice.
        """
        params = params_of(pairs, self._params(nsid))
        self.validate_params(nsid, params)
        return params

    def _params(self, nsid: str) -> Definition:
        definition = self._primary(nsid, "query", "procedure", "subscription")
        spec: Definition = definition.get("parameters", {"type": "params", "properties": {}})
        return spec

    def validate_input(self, nsid: str, value: object) -> None:
        """Check the body that a procedure is called with.

        Raises:
            LexiconError, DataModelError: as `validate_record`.
        """
        self._validate_body(self._primary(nsid, "procedure").get("input"), value)

    def validate_output(self, nsid: str, value: object) -> None:
        """Check the body that a method answers with.

        Raises:
            LexiconError, DataModelError: as `validate_record`.
        """
        self._validate_body(self._primary(nsid, "query", "procedure").get("output"), value)

    def validate_message(self, nsid: str, value: object) -> None:
        """Check a message of a subscription, which names its type.

        Raises:
            LexiconError, DataModelError: as `validate_record`.
        """
        self._validate_body(self._primary(nsid, "subscription")["message"], value)

    def _validate_body(self, body: Definition | None, value: object) -> None:
        if body and "schema" in body:
            check_value(check_record(value), body["schema"], Place(), self._definitions)

    def _primary(self, nsid: str, *kinds: str) -> Definition:
        definition = self._definitions.get(nsid)
        if definition is None or definition["type"] not in kinds:
            raise LexiconError(
                "no such lexicon in the catalog",
                expected=f"a {' or '.join(kinds)}",
                actual=shown(nsid),
                hint="It cannot be checked here. Add its lexicon to the catalog, or treat it as opaque.",
            )
        return definition


def _check_record_key(rkey: str, kind: str) -> None:
    literal = kind.removeprefix("literal:")
    if literal != kind and rkey != literal:
        raise LexiconError("a record key is not the required one", expected=literal, actual=shown(rkey))
    try:
        _RECORD_KEYS.get(kind, RecordKey)(rkey)
    except IdentifierError as error:
        raise LexiconError(
            f"{error.what}, as the record key", expected=kind, actual=error.actual, hint=error.hint
        ) from error
