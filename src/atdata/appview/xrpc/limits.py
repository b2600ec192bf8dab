"""Limits of what one address may ask."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "::1")
"""The addresses of this machine."""

_MOST = 20_000  # addresses that are remembered


@dataclass(frozen=True)
class RateLimit:
    """The rate at which one address may ask.

    Attributes:
        per_second: questions, in the long run; 0 for no limit.
        burst: questions at once.
    """

    per_second: float = 20.0
    burst: int = 400


class RateLimiter:
    """Counts what addresses ask: of each as many as its burst, of which some come back every second.

    Of all addresses some thousands are remembered, those that asked last. IPv6 addresses count by their network of 64 bits.

    Args:
        limit: the rate.
    """

    def __init__(self, limit: RateLimit) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what is left, and of when

    def wait(self, address: str | None, cost: float = 1.0) -> float:
        """Count a question of an address: 0 if it may be asked, else the seconds after which it may."""
        if self._limit.per_second <= 0:
            return 0.0
        name, now = network_of(address), time.monotonic()
        with self._lock:
            left, since = self._left.pop(name, (float(self._limit.burst), now))
            left = min(float(self._limit.burst), left + (now - since) * self._limit.per_second)
            missing = cost - left
            self._left[name] = (left if missing > 0 else left - cost, now)
            while len(self._left) > _MOST:
                self._left.popitem(last=False)
        return max(0.0, missing / self._limit.per_second)


def whole_seconds(wait: float) -> int:
    """The seconds that whoever asked too much is told to wait: whole ones, as HTTP has them."""
    return math.ceil(wait)


def network_of(address: str | None) -> str:
    """The network for which limits hold: an IPv4 address, 64 bits of an IPv6 address; empty where there is none."""
    try:
        found = ipaddress.ip_address(address or "")
    except ValueError:
        return ""
    return str(found) if found.version == 4 else str(ipaddress.ip_network((found, 64), strict=False))
