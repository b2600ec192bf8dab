"""Signatures on secp256k1 by libsecp256k1 (`coincurve`), where it is installed: it is many times as fast as OpenSSL.

It decides nothing that `keys` does not: points, numbers, and the form of signatures, are checked there.
"""

from __future__ import annotations

from collections.abc import Callable


def fast_verifier(point: bytes) -> Callable[[bytes, bytes], bool] | None:
    """The function from a signature (DER, low s) and a message to the truth of it, for a point that was checked.

    `None` where `coincurve` is not installed.
    """
    try:
        from coincurve import PublicKey
    except ImportError:
        return None
    verify: Callable[[bytes, bytes], bool] = PublicKey(point).verify
    return verify


def fast_signer(secret: bytes) -> Callable[[bytes], bytes] | None:
    """The function from a message to its signature (DER; RFC 6979), for a number that was checked.

    `None` where `coincurve` is not installed.
    """
    try:
        from coincurve import PrivateKey
    except ImportError:
        return None
    sign: Callable[[bytes], bytes] = PrivateKey(secret).sign
    return sign
