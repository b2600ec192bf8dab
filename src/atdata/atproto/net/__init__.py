"""The part of the protocol that does I/O on behalf of an account."""

from atdata.atproto.net.session import Account, Session

__all__ = ["Account", "Session"]
