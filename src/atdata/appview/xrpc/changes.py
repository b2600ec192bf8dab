"""`subscribeChanges`: the log of changes, followed over a WebSocket as text frames of JSON."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocket, WebSocketDisconnect

from atdata.appview.xrpc.failures import QueryFailure, query_pairs, requested
from atdata.appview.xrpc.lexicons import NAMESPACE, method_lexicons
from atdata.appview.xrpc.limits import RateLimiter, network_of
from atdata.appview.xrpc.metrics import ServiceMetrics
from atdata.appview.xrpc.views import moment_text, record_json
from atdata.atproto import cbor
from atdata.errors import AtdataError, DataModelError
from atdata.replica import Reading, Replica
from atdata.replica.changes import ChangeHorizon, LoggedChange, changes_between, log_bounds

T = TypeVar("T")

log = logging.getLogger("atdata.appview")

METHOD = f"{NAMESPACE}.subscribeChanges"
MAX_SUBSCRIBERS, MAX_OF_ONE = 200, 20
"""Connections that follow changes: in all, and of one address."""
TAKEN_WITHIN = 20.0
"""Seconds within which a frame must be taken, where those before it fill all that is between."""
_AT_ONCE, _PAUSE, _FRESH = 200, 0.2, 0.1
_REFUSED, _BUSY = 1008, 1013  # WebSocket's own codes
_GONE = ("delete", "hide")
_TYPES = {"hide": "delete", "show": "create"}  # to those who follow, what is shown is what is there


class ChangeStream:
    """The changes of a replica, for any number of subscribers, who share the questions whether there are new ones.

    Args:
        replica: whose.
        limiter: how often an address may come.
        metrics: where subscribers are counted.
    """

    def __init__(self, replica: Replica, limiter: RateLimiter, metrics: ServiceMetrics) -> None:
        self._replica, self._limiter, self._metrics = replica, limiter, metrics
        self._horizon, self._lock = ChangeHorizon(), asyncio.Lock()
        self._known, self._looked = 0, 0.0
        self._subscribers = Counter[str]()

    async def follow(self, socket: WebSocket) -> None:
        """Send the changes after a cursor, or from now on, until the subscriber goes."""
        await socket.accept()
        address = socket.client.host if socket.client else None
        network = network_of(address)
        many = self._subscribers.total() >= MAX_SUBSCRIBERS or self._subscribers[network] >= MAX_OF_ONE
        if many or self._limiter.wait(address):
            await _refuse(socket, QueryFailure("RateLimitExceeded", "there are too many subscribers", 429), _BUSY)
            return
        self._subscribers[network] += 1
        self._metrics.subscribed(1)
        gone = asyncio.create_task(_until_gone(socket))
        try:
            await self._send_all(socket, gone)
        except QueryFailure as failure:
            await _refuse(socket, failure, _REFUSED)
        except AtdataError as error:
            log.error("the changes cannot be read", extra={"facts": {"error": error.what}})
            await _refuse(socket, QueryFailure("ServiceUnavailable", "try again later", 503), _BUSY)
        except (WebSocketDisconnect, RuntimeError):  # the subscriber went while something was sent
            pass
        except TimeoutError:  # or does not read: what waits for it would fill the memory
            log.info("a subscriber does not read", extra={"facts": {"client": address}})
            with suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
                await asyncio.wait_for(socket.close(_BUSY, "TooSlow"), TAKEN_WITHIN)
        finally:
            gone.cancel()
            self._subscribers[network] -= 1
            self._subscribers += Counter[str]()  # drops those that are 0
            self._metrics.subscribed(-1)

    async def _send_all(self, socket: WebSocket, gone: asyncio.Task[None]) -> None:
        after = await self._begin(socket)
        while not gone.done():
            until = await self._newest()
            changes = await self._between(after, until)
            for change in changes:
                if change.shown or not change.key or change.action in _GONE:  # that it is gone tells nothing of it
                    await asyncio.wait_for(socket.send_text(_frame(change)), TAKEN_WITHIN)
                after = change.number
            if not changes:
                after = max(after, until)
                await asyncio.wait({gone}, timeout=_PAUSE)

    async def _begin(self, socket: WebSocket) -> int:
        """The number after which to begin."""
        with requested():
            params = method_lexicons().read_params(METHOD, query_pairs(socket.scope["query_string"]))
        cursor = params.get("cursor")
        if not isinstance(cursor, int):
            return await self._newest()
        low, high = await self._read(lambda reading: log_bounds(reading.sql))
        if cursor > high:
            raise QueryFailure("FutureCursor", "there is no such change yet")
        if cursor < low - 1:
            message = f"changes before {low} are not kept any more"
            await socket.send_text(_text({"type": "info", "name": "OutdatedCursor", "message": message}))
        return cursor

    async def _between(self, after: int, until: int) -> list[LoggedChange]:
        if until <= after:
            return []
        return await self._read(lambda reading: changes_between(reading.sql, after, until, _AT_ONCE))

    async def _newest(self) -> int:
        """The number up to which the log is whole, as of a moment ago."""
        async with self._lock:
            if time.monotonic() - self._looked > _FRESH:
                self._known = await self._read(lambda reading: self._horizon.look(reading.sql))
                self._looked = time.monotonic()
            return self._known

    async def _read(self, work: Callable[[Reading], T]) -> T:
        return await run_in_threadpool(self._replica.read, work)


async def _until_gone(socket: WebSocket) -> None:
    """Take, and pass over, what a subscriber says, until it goes."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass


async def _refuse(socket: WebSocket, failure: QueryFailure, code: int) -> None:
    with suppress(WebSocketDisconnect, RuntimeError):
        await socket.send_text(_text(failure.answer))
        await socket.close(code, failure.name)


def _frame(change: LoggedChange) -> str:
    if not change.key:
        state = {"did": str(change.did), "active": change.action == "show", "timestamp": moment_text(change.moment)}
        return _text({"seq": change.number, "type": "account", **state})
    collection, _, rkey = change.key.partition("/")
    said: dict[str, Any] = {
        "seq": change.number,
        "type": _TYPES.get(change.action, change.action),
        "collection": collection,
        "did": str(change.did),
        "rkey": rkey,
        "timestamp": moment_text(change.moment),
    }
    if change.cid is not None and change.action != "hide":
        said["cid"] = str(change.cid)
    if change.block is not None and change.action != "hide":
        with suppress(DataModelError):
            said |= {"record": record} if (record := record_json(cbor.decode(change.block))) is not None else {}
    return _text(said)


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
