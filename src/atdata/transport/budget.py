"""The budget of one logical request: bytes on the wire, and patience, over all its tries, redirects and answers.

Whatever a server sends counts, informational answers and headers too. Time is spent by waiting and given back by what
is of use, at the least rate: so a stalled server is left after a bounded time, and no server is for long slower than
that. A reader that takes its time spends nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Self

from atdata.errors import LimitError
from atdata.settings import Settings


def nothing() -> None:
    """Let a server be waited for."""


TRIES = 5
HEADERS = 1 << 19
"""Bytes of headers, and of whatever else comes before a body."""


class Patience:
    """Seconds that may be waited. What is of use gives time back, up to as many seconds as there were."""

    __slots__ = ("_most", "_per_byte", "left")

    def __init__(self, seconds: float, least_rate: float) -> None:
        self.left = self._most = seconds
        self._per_byte = 1 / least_rate

    def spend(self, seconds: float) -> None:
        """Spend seconds that have passed."""
        self.left -= seconds

    def gain(self, count: int) -> None:
        """Give back the seconds that received bytes are worth."""
        self.left = min(self._most, self.left + count * self._per_byte)


class Budget:
    """The rest of one logical request's budget.

    As a context it measures the time for which the server is waited for.

    Args:
        uri: what is asked for.
        patience: seconds that may be waited in all; a fifth of them in one try.
        least_rate: bytes a second that give back what was spent.
        max_bytes: bytes of the wanted answer. With its headers, and a second try of it, that is what may come over the
            wire; without, only what comes before each body is bounded.
        sleep: how to wait between tries.
        watch: is called whenever the server is waited for, and raises where that is to end.
    """

    def __init__(
        self,
        uri: str,
        patience: float = Settings.patience,
        least_rate: float = Settings.least_rate,
        max_bytes: int | None = None,
        sleep: Callable[[float], None] = time.sleep,
        watch: Callable[[], None] = nothing,
    ) -> None:
        self.uri, self.patience, self.failures = uri, patience, 0
        self._rate, self._sleep, self._watch = least_rate, sleep, watch
        self._whole = Patience(patience, least_rate)
        self._whole_answer = max_bytes is not None
        self._bytes: int | None = HEADERS if max_bytes is None else 2 * (max_bytes + HEADERS)
        self._since = 0.0
        self._waited, self._new = 0.0, 0  # since the last failure
        self.begin()

    def begin(self) -> None:
        """Begin another try: a request is about to be sent."""
        self._try = Patience(self.patience / 5, self._rate)
        if not self._whole_answer:
            self._bytes = HEADERS

    def body_begins(self) -> None:
        """Note that the headers are read: from here on the body is bounded by its reader."""
        if not self._whole_answer:
            self._bytes = None

    def __enter__(self) -> Self:
        """Begin to wait for the server."""
        self._since = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self._tick()

    def within(self, timeout: float | None) -> float:
        """Seconds to wait for the next bytes, as long as they are waited for; 0 and less where patience has ended."""
        self._watch()
        self._tick()
        return self.left if timeout is None else min(timeout, self.left)

    @property
    def left(self) -> float:
        """Seconds of patience with this try."""
        return min(self._whole.left, self._try.left)

    def received(self, count: int) -> None:
        """Count bytes that came over the wire.

        Raises:
            LimitError: they are more than may.
        """
        self._try.gain(count)
        if self._bytes is not None:
            self._bytes -= count
            if self._bytes < 0:
                raise LimitError("a server's answer is too long", uri=self.uri, actual="more than its headers may take")

    def sent(self, count: int) -> None:
        """Count bytes that were sent."""
        self._try.gain(count)
        self._whole.gain(count)

    def body_received(self, count: int) -> None:
        """Count bytes of a body."""
        self._whole.gain(count)

    def progressed(self, count: int) -> None:
        """Count bytes of a body that no other try has to fetch again."""
        self._new += count

    def failed(self, error: Exception) -> None:
        """Pause after a failed try, before the next.

        Raises:
            Exception: the error, where there is no other.
        """
        if not self.another(backoff(self.failures)):
            raise error

    def another(self, pause: float) -> bool:
        """Pause before another try, and give `True`; `False` where there were tries enough, or patience does not last.

        A try that made real progress, at the least rate, begins the count anew.
        """
        self._watch()
        if self._new and self._new >= self._rate * self._waited:
            self.failures = 0
        self.failures += 1
        self._waited, self._new = 0.0, 0
        if self.failures >= TRIES or pause >= self._whole.left:
            return False
        self._sleep(pause)
        self._spend(pause)
        return True

    def _tick(self) -> None:
        now = time.monotonic()
        self._spend(now - self._since)
        self._since = now

    def _spend(self, seconds: float) -> None:
        self._whole.spend(seconds)
        self._try.spend(seconds)
        self._waited += seconds


def backoff(attempt: int) -> float:
    """Seconds to wait before another try: growing, and a little random."""
    spread = 0.5 + random.random() / 2  # noqa: S311  not a secret: clients that failed together come back apart
    return min(0.25 * 2.0**attempt, 8.0) * spread
