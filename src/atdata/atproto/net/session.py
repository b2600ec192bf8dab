"""A logged-in account: its tokens, refreshed as needed, and its requests.

https://atproto.com/specs/xrpc, and the measured behaviour of the real PDS: an expired access token is answered by
400 `ExpiredToken`; it is refreshed once, by one thread, and the request replayed.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any
from urllib.parse import urlencode

from atdata.atproto.syntax import Did, Handle
from atdata.errors import (
    AuthError,
    DataModelError,
    IdentifierError,
    NetworkError,
    RateLimitError,
    UsageError,
    XrpcError,
)
from atdata.json_reader import read_json
from atdata.redaction import Secret, redacted
from atdata.transport import Response, Transport

_SEPARATOR = ":::"
_NOT_IN = (
    "AuthenticationRequired",
    "InvalidToken",
    "AuthMissing",
    "AccountTakedown",
    "AccountDeactivated",
    "ScopeMissingError",
)
_LIMIT = 4 << 20
_PRINTABLE = re.compile(r"[!-~]+")


@dataclass(frozen=True)
class Session:
    """Tokens of an account at its server.

    Attributes:
        did: the account.
        handle: as its server knows it.
        access: a token for two hours.
        refresh: a token for ninety days. Neither is ever printed.
        server: the URL of the server that gave them.
    """

    did: Did
    handle: Handle
    server: str
    access: Secret
    refresh: Secret

    def export(self) -> str:
        """A secret string to log in with again; the form other AT Protocol clients use too."""
        return _SEPARATOR.join((self.handle, self.did, self.access, self.refresh, self.server))

    @classmethod
    def parse(cls, text: str) -> Session:
        """Read an exported session.

        Raises:
            UsageError: it is none. The text is not shown.
        """
        text = Secret(text)
        parts = list(map(Secret, text.strip().split(_SEPARATOR)))
        try:
            handle, did, access, refresh, server = parts
            plain = all(_PRINTABLE.fullmatch(part) for part in parts)  # they become headers
            if not plain or redacted(server.reveal()) != server:
                raise ValueError
            return cls(Did(did.reveal()), Handle(handle.reveal()), server.rstrip("/"), access, refresh)
        except (ValueError, IdentifierError):
            raise UsageError(
                "not an exported session", hint="Use what AtmosphereClient.export_session() gave."
            ) from None


class Account:
    """A logged-in account. Safe to use from several threads.

    Args:
        transport: to which the account's server is spelled out.
        session: its tokens.
    """

    def __init__(self, transport: Transport, session: Session) -> None:
        self._transport = transport
        self.session = session
        self._refreshing = threading.Lock()

    @classmethod
    def login(cls, transport: Transport, server: str, identifier: str, password: str) -> Account:
        """Log in with an app password.

        Raises:
            AuthError: the server does not accept it.
            NetworkError: the server cannot be reached.
        """
        password = Secret(password)
        body = {"identifier": identifier, "password": password}
        answer = call(transport, server, "com.atproto.server.createSession", body=body)
        return cls(transport, _session(answer, server))

    def query(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Call an XRPC query (GET)."""
        return self._authorized(method, params=params)

    def procedure(self, method: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Call an XRPC procedure (POST) that may safely be called twice."""
        return self._authorized(method, body=body)

    def upload(self, content: Callable[[], Iterable[bytes]], size: int, mime_type: str) -> dict[str, Any]:
        """Upload a blob; the answer's `blob` is to be used as it is.

        Args:
            content: gives the bytes, from the start at each call.
            size: how many there are; a server must know before it takes any (pds-facts.md, Blobs).
            mime_type: what they are.
        """
        kind = {"content-type": mime_type, "content-length": str(size)}
        return self._authorized("com.atproto.repo.uploadBlob", kind, content=content)

    def _authorized(self, method: str, headers: Mapping[str, str] | None = None, **sent: Any) -> dict[str, Any]:
        def ask(session: Session) -> dict[str, Any]:
            bearer = _bearer(session.access)
            return call(self._transport, session.server, method, headers={**bearer, **(headers or {})}, **sent)

        used = self.session
        try:
            return ask(used)
        except XrpcError as error:
            if error.error != "ExpiredToken":
                raise
        self._refresh(used)
        return ask(self.session)

    def _refresh(self, used: Session) -> None:
        with self._refreshing:
            if self.session is not used:
                return  # another thread was faster
            bearer = _bearer(used.refresh)
            try:
                answer = call(
                    self._transport, used.server, "com.atproto.server.refreshSession", body={}, headers=bearer
                )
            except XrpcError as error:
                if error.error != "ExpiredToken":
                    raise
                raise AuthError("the session has ended", uri=used.server, hint="Log in again.") from error
            fresh = _session(answer, used.server)
            self.session = replace(used, access=fresh.access, refresh=fresh.refresh)


def call(
    transport: Transport,
    server: str,
    method: str,
    *,
    params: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    content: Callable[[], Iterable[bytes]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Call an XRPC method: with a body or content a procedure, else a query.

    Raises:
        AuthError: the server wants other credentials.
        RateLimitError: it wants fewer requests, and patience was used up.
        XrpcError: any other answer but success; `error` is the server's name for it.
        NetworkError: no answer.
    """
    url = f"{server}/xrpc/{method}" + (f"?{urlencode(params, doseq=True)}" if params else "")
    sent = dict(headers or {})
    data = content
    if body is not None and content is None:
        # The server expects no body at all where the method takes no input.
        data = partial(_pieces, body)  # made when it is sent: nobody else holds what may be a password
        sent |= {"content-type": "application/json"} if body else {}
        sent["content-length"] = str(sum(map(len, data())))
    verb = "GET" if data is None else "POST"
    answer = transport.send(verb, url, headers=sent, content=data, max_bytes=_LIMIT)
    parsed = _parse(answer)
    if answer.status == 200:
        return parsed
    raise _error(answer, parsed, method, server)


def _bearer(token: Secret) -> dict[str, str]:
    return {"authorization": Secret(f"Bearer {token.reveal()}")}


def encoded(body: Mapping[str, Any]) -> bytes:
    """A body as it is sent. Compact: a server's limit on requests counts these bytes."""
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode()


def _pieces(body: Mapping[str, Any]) -> list[bytes]:
    return [encoded(body)] if body else []


def _parse(answer: Response) -> dict[str, Any]:
    try:
        parsed = read_json(answer.body) if answer.body else {}
    except DataModelError:
        parsed = None
    if not isinstance(parsed, dict):
        parsed = None  # there may be tokens in it
        if answer.status == 200:
            raise NetworkError("a server's answer is not a JSON object", uri=answer.url)
        return {}
    return parsed


def _error(answer: Response, parsed: dict[str, Any], method: str, server: str) -> NetworkError:
    name, message = str(parsed.get("error", ""))[:100], str(parsed.get("message", ""))[:500]
    facts: dict[str, Any] = {"uri": server, "step": method, "actual": f"{answer.status} {name}: {message}"}
    if name == "AuthFactorTokenRequired":
        return AuthError(
            "the server requires a second factor", **facts, hint="Use an app password instead of the account's own."
        )
    if answer.status in (401, 403) or (name in _NOT_IN):
        return AuthError(
            "the server refuses the credentials", **facts, hint="Log in again; check handle and app password."
        )
    if answer.status == 429:
        return RateLimitError(
            "the server limits the rate of requests", status=429, error=name, **facts, hint="Try again later."
        )
    return XrpcError(f"the server refuses: {name or answer.status}", status=answer.status, error=name, **facts)


def _session(answer: dict[str, Any], server: str) -> Session:
    try:
        tokens = Secret(str(answer["accessJwt"])), Secret(str(answer["refreshJwt"]))
        return Session(Did(answer["did"]), Handle(answer["handle"]), server, *tokens)
    except (KeyError, IdentifierError) as error:
        answer.clear()  # callers hold it too, and tokens may be in it
        raise NetworkError("a server's answer is not a session", uri=server) from error
