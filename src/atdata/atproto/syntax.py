"""The identifiers of the AT Protocol, as strings that cannot hold anything else.

Each class is a `str` whose constructor checks, so that a value of type `Did` has been checked, once, and still is a
string to everyone else. `X.parse(text)` spells the check out. All raise `IdentifierError` (`actual`, `hint`).

https://atproto.com/specs/did, /handle, /nsid, /record-key, /tid, /at-uri-scheme, and for `check_format`
/lexicon#string-formats.
"""

from __future__ import annotations

import os
import re
import threading
import time
import unicodedata
from collections.abc import Callable
from typing import ClassVar, Self

from atdata.atproto import formats
from atdata.atproto.cid import Cid
from atdata.atproto.formats import refuse
from atdata.errors import IdentifierError, UsageError


class Identifier(str):
    """A string checked by its constructor."""

    __slots__ = ()

    _kind: ClassVar[str]
    _hint: ClassVar[str]
    _max_length: ClassVar[int]
    _pattern: ClassVar[re.Pattern[str]]

    def __new__(cls, text: object) -> Self:
        """Check, and keep the text as it is."""
        if type(text) is cls:  # it was checked when it was made
            return text
        # The length comes first: patterns never run over text that is too long anyway.
        if not isinstance(text, str) or len(text) > cls._max_length or not cls._pattern.fullmatch(text):
            refuse(cls._kind, text, cls._hint)
        return super().__new__(cls, text)

    @classmethod
    def parse(cls, text: object) -> Self:
        """The identifier that `text` is.

        Raises:
            IdentifierError: it is none.
        """
        return cls(text)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self)!r})"


class Did(Identifier):
    """A decentralized identifier of any method; only `did:plc` and `did:web` can be resolved (spec: DID)."""

    __slots__ = ()

    _kind = "a DID"
    _hint = "A DID reads did:method:identifier, such as did:plc:ewvi7nxzyoun6zhxrhs64oiz."
    _max_length = 2048
    _pattern = re.compile(r"did:[a-z]+:[A-Za-z0-9._:%-]*[A-Za-z0-9._-]")

    @property
    def method(self) -> str:
        """The method: `plc`, `web`, ..."""
        return self.split(":", 2)[1]


class Handle(Identifier):
    """A domain name that an account goes by (spec: Handle).

    Case is kept and means nothing: compare `normalized`.
    """

    __slots__ = ()

    _kind = "a handle"
    _hint = "A handle is a domain name, such as alice.example.com, without an @."
    _max_length = 253
    _pattern = re.compile(
        r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
    )

    @property
    def normalized(self) -> Handle:
        """The handle in lower case."""
        return Handle(self.lower())


class Nsid(Identifier):
    """The name of a lexicon, and of the collection its records are in (spec: NSID)."""

    __slots__ = ()

    _kind = "an NSID"
    _hint = "An NSID is a reversed domain name and a name, such as science.alt.dataset.entry."
    _max_length = 253 + 1 + 63
    _pattern = re.compile(
        r"[A-Za-z](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
        r"(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)+"
        r"\.[A-Za-z][A-Za-z0-9]{0,62}"
    )

    @property
    def authority(self) -> str:
        """The domain name that governs it: `dataset.alt.science` for `science.alt.dataset.entry`."""
        return ".".join(reversed(self.split(".")[:-1])).lower()

    @property
    def name(self) -> str:
        """Its last part: `entry` for `science.alt.dataset.entry`."""
        return self.rsplit(".", 1)[1]


class RecordKey(Identifier):
    """The name of a record in its collection (spec: Record Key)."""

    __slots__ = ()

    _kind = "a record key"
    _hint = "A record key has 1 to 512 characters of A-Z a-z 0-9 . _ : ~ - and is neither '.' nor '..'."
    _max_length = 512
    _pattern = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._:~-]+")


_TID_DIGITS = "234567abcdefghijklmnopqrstuvwxyz"
_TID_VALUES = {digit: value for value, digit in enumerate(_TID_DIGITS)}
_CLOCK_IDS = 1 << 10


class Tid(RecordKey):
    """A timestamp identifier: microseconds since 1970 and a clock's number, sorting as text by time (spec: TID).

    A TID is a record key, and the form of a repository's `rev`.
    """

    __slots__ = ()

    _kind = "a TID"
    _hint = f"A TID has 13 characters of {_TID_DIGITS}, the first of them at most j."
    _max_length = 13
    _pattern = re.compile(r"[2-7a-j][2-7a-z]{12}")

    @classmethod
    def now(cls) -> Tid:
        """A TID greater than every one this process made before; safe from several threads and after a fork.

        Where the time must be given, as in tests, make a `TidClock`.
        """
        return _clock.next()

    @classmethod
    def from_microseconds(cls, microseconds: int, clock_id: int = 0) -> Tid:
        """The TID of a moment.

        Args:
            microseconds: since 1970-01-01, below 2**53.
            clock_id: 0 to 1023, to tell apart what several clocks make at the same moment.

        Raises:
            UsageError: out of those ranges.
        """
        if not 0 <= microseconds < 1 << 53 or not 0 <= clock_id < _CLOCK_IDS:
            raise UsageError(
                "not the parts of a TID",
                expected="0 <= microseconds < 2**53, 0 <= clock_id < 1024",
                actual=f"{microseconds}, {clock_id}",
            )
        number = microseconds * _CLOCK_IDS + clock_id
        return cls("".join(_TID_DIGITS[number >> shift & 31] for shift in range(60, -1, -5)))

    @property
    def microseconds(self) -> int:
        """Microseconds since 1970-01-01, as its maker's clock told them."""
        return self._number // _CLOCK_IDS

    @property
    def clock_id(self) -> int:
        """The number of the clock that made it, 0 to 1023."""
        return self._number % _CLOCK_IDS

    @property
    def _number(self) -> int:
        number = 0
        for digit in self:
            number = number << 5 | _TID_VALUES[digit]
        return number


class TidClock:
    """Makes strictly increasing TIDs, also while its time stands still or runs backwards.

    Args:
        microseconds: tells the time since 1970-01-01; the system's unless given.
        clock_id: its number, 0 to 1023; random unless given.
        after: the time that its first TID must lie after.
    """

    def __init__(
        self, microseconds: Callable[[], int] | None = None, clock_id: int | None = None, *, after: int = -1
    ) -> None:
        self._time = microseconds or (lambda: time.time_ns() // 1000)
        self._clock_id = int.from_bytes(os.urandom(2)) % _CLOCK_IDS if clock_id is None else clock_id
        self._last = after
        self._lock = threading.Lock()

    def next(self) -> Tid:
        """A TID greater than all this clock made before."""
        with self._lock:
            self._last = max(self._time(), self._last + 1)
            return Tid.from_microseconds(self._last, self._clock_id)

    def forked(self) -> TidClock:
        """A clock that continues this one under another number, for a child process."""
        return TidClock(self._time, after=self._last)


def _renew_clock() -> None:
    # A forked child must not share its parent's number, nor a lock that a thread left behind in the parent holds.
    global _clock
    _clock = _clock.forked()


_clock = TidClock()
os.register_at_fork(after_in_child=_renew_clock)


class AtUri(Identifier):
    """The address of a repository, a collection in it, or a record (spec: AT URI; the restricted form of lexicons).

    Nothing is normalized, and there are no fragments.
    """

    __slots__ = ()

    _kind = "an AT URI"
    _hint = "An AT URI reads at://did-or-handle/collection/record-key, of which the latter parts may be left out."
    _max_length = 8192
    _pattern = re.compile(r"at://[^/]+(?:/[^/]+){0,2}")

    def __new__(cls, text: object) -> Self:
        """Check each part, and keep the text as it is."""
        uri = super().__new__(cls, text)
        try:
            if uri is not text:
                _ = uri.authority, uri.collection, uri.rkey
        except IdentifierError as error:
            raise IdentifierError(f"{error.what}, in an AT URI", actual=uri[:200], hint=error.hint) from error
        return uri

    @classmethod
    def of(cls, authority: str, collection: str | None = None, rkey: str | None = None) -> Self:
        """The address made of its parts.

        Raises:
            IdentifierError: a part is not what it must be.
            UsageError: a record key without a collection.
        """
        if collection is None:
            if rkey is not None:
                raise UsageError("a record key needs a collection", actual=rkey)
            return cls(f"at://{parse_identifier(authority)}")
        # Each part is checked by itself: a slash in one would make it two.
        path = f"at://{parse_identifier(authority)}/{Nsid(collection)}"
        return Identifier.__new__(cls, path if rkey is None else f"{path}/{RecordKey(rkey)}")

    @property
    def authority(self) -> Did | Handle:
        """The identity whose repository it is."""
        return parse_identifier(self.split("/", 3)[2])

    @property
    def collection(self) -> Nsid | None:
        """The collection, if it names one."""
        parts = self.split("/")
        return Nsid(parts[3]) if len(parts) > 3 else None

    @property
    def rkey(self) -> RecordKey | None:
        """The record key, if it names a record."""
        parts = self.split("/")
        return RecordKey(parts[4]) if len(parts) > 4 else None

    def with_authority(self, authority: str) -> Self:
        """The same path in another's repository: a handle exchanged for its DID.

        Raises:
            IdentifierError: `authority` is neither a DID nor a handle.
        """
        return type(self).of(authority, self.collection, self.rkey)


class BlobUri(Identifier):
    """The address of a blob on its owner's PDS: `at://{did}/blob/{cid}`.

    A form of our own: `blob` is no NSID, so that no AT URI can be mistaken for it.
    """

    __slots__ = ()

    _kind = "a blob address"
    _hint = "A blob's address reads at://did/blob/cid, the CID being that of raw bytes (it begins with 'bafkrei')."
    _max_length = 2048 + 70
    _pattern = re.compile(r"at://[^/]+/blob/[^/]+")

    def __new__(cls, text: object) -> Self:
        """Check each part, and keep the text as it is."""
        uri = super().__new__(cls, text)
        try:
            Did(uri.did)
            raw = Cid.parse(uri.cid).codec == "raw"
        except IdentifierError as error:
            raise IdentifierError(f"{error.what}, in a blob address", actual=uri[:200], hint=cls._hint) from error
        if not raw:
            refuse(cls._kind, text, cls._hint)
        return uri

    @classmethod
    def of(cls, did: str, cid: str | Cid) -> Self:
        """The address made of its parts.

        Raises:
            IdentifierError: a part is not what it must be.
        """
        return cls(f"at://{did}/blob/{cid}")

    @property
    def did(self) -> Did:
        """The identity whose blob it is."""
        return Did(self.split("/")[2])

    @property
    def cid(self) -> str:
        """The CID of its bytes."""
        return self.split("/")[4]


def parse_identifier(text: object) -> Did | Handle:
    """The DID or the handle that text is (spec: `at-identifier`).

    Raises:
        IdentifierError: it is neither.
    """
    if not isinstance(text, str):
        refuse("a DID or a handle", text, Handle._hint)
    return Did(text) if text.startswith("did:") else Handle(text)


def typed_identifier(text: object) -> Did | Handle:
    """The DID or the handle that somebody typed, or copied with what stood around it: space, bidi marks, `at://`, `@`.

    Raises:
        IdentifierError: it is neither.
    """
    if isinstance(text, str):
        text = without_marks(text).removeprefix("at://").removesuffix("/").removeprefix("@").strip()
    return parse_identifier(text)


def without_marks(text: str) -> str:
    """Text without what is not seen: format characters, such as those for the direction of text, and space around it."""
    return "".join(char for char in text if unicodedata.category(char) != "Cf").strip()


_FORMATS: dict[str, Callable[[str], object]] = {
    "at-identifier": parse_identifier,
    "at-uri": AtUri,
    "cid": formats.check_cid,
    "datetime": formats.check_datetime,
    "did": Did,
    "handle": Handle,
    "language": formats.check_language_syntax,
    "nsid": Nsid,
    "record-key": RecordKey,
    "tid": Tid,
    "uri": formats.check_uri,
}

FORMATS = frozenset(_FORMATS)
"""The names of the string formats of lexicons."""


def check_format(format_name: str, text: str) -> None:
    """Check text against a string format of lexicons.

    Raises:
        IdentifierError: the text does not have the format.
        UsageError: there is no such format.
    """
    check = _FORMATS.get(format_name)
    if check is None:
        raise UsageError("no such string format", expected=", ".join(sorted(FORMATS)), actual=format_name)
    check(text)
