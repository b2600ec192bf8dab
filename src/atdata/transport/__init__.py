"""Network I/O of the whole library: guarded HTTP and WebSocket, DNS, and the driver of network steps."""

from typing import TYPE_CHECKING

from atdata.lazy import attach

if TYPE_CHECKING:
    from atdata.transport.http import Response, Transport
    from atdata.transport.steps import Get, Steps, TxtLookup

__getattr__ = attach(
    __name__,
    {"atdata.transport.http": ("Response", "Transport"), "atdata.transport.steps": ("Get", "Steps", "TxtLookup")},
)

__all__ = ["Get", "Response", "Steps", "Transport", "TxtLookup"]


def __dir__() -> list[str]:
    return __all__
