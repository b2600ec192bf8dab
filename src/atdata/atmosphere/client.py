"""`AtmosphereClient`: an account on the AT Protocol, and the verified view of everybody else's."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from atdata.arguments import checked_type
from atdata.atproto.cid import Cid
from atdata.atproto.datamodel import from_json
from atdata.atproto.syntax import Did, Handle, typed_identifier
from atdata.errors import AuthError, DataModelError, LexiconError, ProofError, UsageError
from atdata.records import Blob, Record
from atdata.redaction import Secret
from atdata.settings import Settings

if TYPE_CHECKING:
    from atdata.atmosphere.evidence import EvidenceReader
    from atdata.atmosphere.records import AccountRecords
    from atdata.atproto.net import Account

R = TypeVar("R", bound=Record)
T = TypeVar("T")

LEXICON_BLOB_LIMIT = 52_428_800
"""Bytes a shard may have by the lexicon of `storageBlobs`, whatever a server would take."""


def checked_client(given: Any) -> AtmosphereClient:
    """A client that a caller gives.

    Raises:
        ArgumentTypeError: it is none.
    """
    client: AtmosphereClient = checked_type(given, AtmosphereClient, "client", "Give an AtmosphereClient().")
    return client


class AtmosphereClient:
    """An account on the AT Protocol, and a verified view of everybody else's.

    Args:
        base_url: the server to log in at; without it, the account's own, found through its handle.
        settings: arguments of `atdata.settings.Settings.of`.

    Attributes:
        settings: in force.
    """

    def __init__(self, base_url: str | None = None, **settings: Any) -> None:
        self._account: Account | None = None
        self.settings = Settings.of(**settings)
        if base_url is not None and not base_url:
            raise UsageError(
                "base_url must not be empty", path="base_url", hint="Leave it out to find the account's own."
            )
        self.base_url = None if base_url is None else base_url.rstrip("/")
        self.trusted_origins = frozenset[str]()
        if self.base_url is not None:
            from atdata.urls import origin_of

            self.trusted_origins = frozenset({origin_of(self.base_url)})

    @cached_property
    def reader(self) -> EvidenceReader:
        """The reader of what anybody published, which verifies it."""
        from atdata.atmosphere.evidence import reader_of

        return reader_of(self.settings, self.trusted_origins)

    @cached_property
    def records(self) -> AccountRecords:
        """The account's own records, and the way to everybody else's."""
        from atdata.atmosphere.records import AccountRecords

        return AccountRecords(self)

    def login(self, handle: str, password: str) -> None:
        """Log in with a handle (or DID) and an app password.

        Raises:
            IdentifierError: that is no handle.
            AuthError: the server does not accept them.
            IdentityError: the handle leads nowhere, and no `base_url` was given.
        """
        from atdata.atproto.net import Account

        password = Secret(password)
        name = typed_identifier(handle)
        server = self.base_url or self.reader.identity(name).pds
        self._begin(Account.login(self.reader.transport, server, name, password))

    def login_with_session(self, session: str) -> None:
        """Log in with what `export_session` gave.

        Raises:
            UsageError: it is no exported session.
        """
        from atdata.atproto.net import Account, Session

        parsed = Session.parse(session := Secret(session))
        self._begin(Account(self.reader.transport.trusting(parsed.server), parsed))

    def export_session(self) -> str:
        """A secret string to log in with again, without the password.

        Raises:
            AuthError: not logged in.
        """
        return self.account.session.export()

    def _begin(self, account: Account) -> None:
        self._account = account
        self.__dict__.pop("handle", None)
        self.__dict__.pop("blob_limit", None)

    @property
    def account(self) -> Account:
        """The account that is logged in.

        Raises:
            AuthError: none is.
        """
        if self._account is None:
            raise AuthError("not logged in", hint="Call client.login(handle, app_password) first.")
        return self._account

    @property
    def is_authenticated(self) -> bool:
        """True if an account is logged in."""
        return self._account is not None

    @property
    def did(self) -> Did:
        """The account's DID."""
        return self.account.session.did

    @cached_property
    def handle(self) -> Handle | None:
        """The account's handle, if its DID document names it; nothing else is ever shown as one."""
        claimed = self.account.session.handle.normalized
        named = [handle.normalized for handle in self.reader.identity(self.did).handles]
        return claimed if claimed in named else self.reader.shown_handle(self.did)

    @cached_property
    def blob_limit(self) -> int:
        """Bytes a blob may have: what the server says, and what the lexicon allows."""
        said = self.account.query("com.atproto.server.describeServer").get("blobUploadLimit")
        return min(said, LEXICON_BLOB_LIMIT) if type(said) is int and said > 0 else LEXICON_BLOB_LIMIT

    def read(self, ref: str, kind: type[R]) -> R:
        """A record of anybody's, verified (see `EvidenceReader.read`)."""
        return self.records.read(ref, kind)

    def upload(self, content: Callable[[], Iterable[bytes]], cid: Cid, size: int, mime_type: str) -> Blob:
        """Upload a blob whose CID is known; it stays unreadable until a record names it.

        Raises:
            ProofError: the server stored other bytes.
            NetworkError: it did not take them.
        """
        answer = self.account.upload(content, size, mime_type)
        stored = answer.get("blob")
        try:
            blob = Blob.from_record(from_json(stored), "blob")
        except (LexiconError, DataModelError) as error:
            raise ProofError(
                "the server's answer names no blob", step="uploadBlob", actual=repr(stored)[:200]
            ) from error
        if blob.cid != cid or blob.size != size:
            raise ProofError("the server stored another blob", step="shard digest", expected=cid, actual=blob.cid)
        return blob

    def __repr__(self) -> str:
        return f"AtmosphereClient({self.did if self._account else 'not logged in'})"
