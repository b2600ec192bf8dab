"""A part of a large body, by one request (RFC 9110, section 14: Range Requests)."""

from __future__ import annotations

from atdata.errors import AddressError, NetworkError
from atdata.transport.budget import Budget
from atdata.transport.guard import join_url
from atdata.transport.http import MAX_REDIRECTS, REDIRECTS, RETRIED, Transport


def read_range(transport: Transport, url: str, start: int, stop: int) -> bytes | None:
    """The bytes of a body in `[start, stop)`; `None` where the server answers anything but this part.

    It may know no ranges, have a shorter body, or refuse: that is for who reads the whole body to find out.

    Raises:
        AddressError: the server must not be dialled.
        LimitError: there is no end of what comes before the part.
        NetworkError: it cannot be reached, is busy or too slow, or keeps breaking off, five times in a row.
    """
    budget = transport.budget(url)
    while True:
        try:
            return _ask(transport, url, start, stop, budget)
        except AddressError:
            raise
        except NetworkError as error:
            budget.failed(error)


def _ask(transport: Transport, url: str, start: int, stop: int, budget: Budget) -> bytes | None:
    for _ in range(MAX_REDIRECTS + 1):
        headers = {"range": f"bytes={start}-{stop - 1}"}
        with transport.stream("GET", url, headers=headers, budget=budget) as answer:
            location = answer.headers.get("location")
            if answer.status in REDIRECTS and location:
                url = join_url(url, location)
                continue
            if answer.status in RETRIED:
                raise NetworkError(f"a server answered {answer.status}", uri=url)
            sent = answer.headers.get("content-range", "")
            if answer.status != 206 or answer.encoding or not sent.startswith(f"bytes {start}-{stop - 1}/"):
                return None
            part = bytearray()
            for chunk in answer.chunks:
                part += chunk
                if len(part) > stop - start:
                    return None
            if len(part) < stop - start:
                raise NetworkError(
                    "a server ended a body early", uri=url, actual=f"{len(part)} of {stop - start} bytes of a range"
                )
            return bytes(part)
    return None
