"""Errors that a question is answered with: a name that programs know, and words for people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import parse_qsl

from atdata.errors import (
    AtdataError,
    DataModelError,
    IdentifierError,
    LexiconError,
    LimitError,
    NetworkError,
    StorageError,
    UsageError,
    VerificationError,
)
from atdata.plain import plain

_MOST, _MAX_FIELDS = 500, 200  # characters of a message, parameters of a query


class QueryFailure(Exception):
    """An answer that is an error.

    Attributes:
        name: as the lexicon of the method has it.
        message: in words.
        status: of HTTP.
    """

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name, self.message, self.status = name, plain(message, _MOST), status

    @classmethod
    def absent(cls, name: str, message: str) -> QueryFailure:
        """The answer for what is not there, or is not shown: nobody can tell which."""
        return cls(name, message, 404)

    @classmethod
    def of(cls, error: AtdataError) -> QueryFailure | None:
        """The answer for an error of atdata's; `None` where it is a fault of ours."""
        match error:
            case VerificationError():
                return cls("RecordDamaged", "what is stored is not what was verified", 503)
            case StorageError() | NetworkError():
                return cls("ServiceUnavailable", "the database does not answer just now", 503)
        return None

    @property
    def answer(self) -> dict[str, str]:
        """The body of the answer."""
        return {"error": self.name, "message": self.message}


@contextmanager
def requested() -> Iterator[None]:
    """Have errors in reading what was asked be answered as such.

    Raises:
        QueryFailure: there was one.
    """
    try:
        yield
    except (DataModelError, IdentifierError, LexiconError, LimitError, UsageError) as error:
        where = f", at {error.path}" if error.path else ""
        expected = f"; expected: {error.expected}" if error.expected else ""
        raise QueryFailure("InvalidRequest", f"{error.what}{where}{expected}") from error


def query_pairs(query: bytes) -> list[tuple[str, str]]:
    """The names and texts in a query string.

    Raises:
        QueryFailure: it cannot be read.
    """
    try:
        text = query.decode("latin-1")
        return parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise QueryFailure("InvalidRequest", "the query string cannot be read") from None
