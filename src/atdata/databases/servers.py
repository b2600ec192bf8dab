"""Servers of databases: the address of one as people may see it, and what to do where one does not answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from atdata.errors import NetworkError, UsageError

T = TypeVar("T")

_PATIENCE = (0.05, 0.2, 0.5, 1.0, 2.0)  # seconds; a server that is restarted answers by then
_STARTING = 60.0  # seconds; it may have much to read before it is ready


def patiently(
    work: Callable[[], T],
    lost: Callable[[Exception], bool],
    forget: Callable[[], None],
    starting: Callable[[Exception], bool] = lambda _: False,
) -> T:
    """Do some work once; once more, where the connection was lost on the way.

    The server may have done it before the connection broke, so it must be such that doing it twice is harmless.

    Args:
        work: what to do.
        lost: says of an error that trying again may help.
        forget: lets go of what is of no use any more, before that.
        starting: says of such an error that the server is there, and will be ready: that is waited for longer.
    """
    pauses, until = list(_PATIENCE), None
    while True:
        try:
            return work()
        except Exception as error:
            if not lost(error):
                raise
            if starting(error):
                until = until or time.monotonic() + _STARTING
                if time.monotonic() > until:
                    raise
                pause = _PATIENCE[-1]
            elif pauses:
                pause = pauses.pop(0)
            else:
                raise
            forget()
            time.sleep(pause)


def public_address(url: str) -> str:
    """An address without user, password and options; of one that can be read in two ways only the scheme."""
    scheme, _, rest = url.partition("://")
    place, _, options = rest.partition("?")
    return f"{scheme}://" + ("" if "@" in options else place.rpartition("@")[2])


def no_address(what: str, url: str) -> UsageError:
    """The error for a URL that cannot be read. What the driver said may hold parts of a password."""
    return UsageError(
        f"{what} cannot read this address",
        uri=public_address(url),
        hint="Are characters such as : / ? # @ in the password percent-encoded?",
    )


def unreachable(what: str, address: str, error: Exception, said: str | None = None) -> NetworkError:
    """The error for a server that does not answer, or says why it does not take us."""
    return NetworkError(
        f"{what} does not answer" if said is None else f"{what} does not take connections",
        uri=address,
        actual=said or type(error).__name__,
        hint="Is it running, and is the address right? `atdata up` starts one on this machine.",
    )
