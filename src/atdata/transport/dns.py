"""DNS TXT lookups, over `dnspython`."""

from __future__ import annotations

from atdata.errors import MissingExtraError, NetworkError

TIMEOUT = 5.0


def lookup_txt(name: str) -> list[str]:
    """The TXT records of a name; empty where there are none.

    Raises:
        NetworkError: a DNS lookup failed.
    """
    try:
        import dns.exception
        import dns.resolver
    except ImportError as error:
        raise MissingExtraError.of("atmosphere", "Looking up a handle in DNS") from error
    try:
        answer = dns.resolver.resolve(name, "TXT", lifetime=TIMEOUT)
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        return []
    except (dns.exception.DNSException, OSError, ValueError) as error:
        raise NetworkError(
            "a DNS lookup failed", uri=name, actual=type(error).__name__, hint="Check the network."
        ) from error
    return [b"".join(record.strings).decode("utf-8", "replace") for record in answer]
