"""Network I/O of the whole library: guarded HTTP and WebSocket, DNS, and the driver of network steps."""

from atdata.transport.http import Response, Transport
from atdata.transport.steps import Get, Steps, TxtLookup

__all__ = ["Get", "Response", "Steps", "Transport", "TxtLookup"]
