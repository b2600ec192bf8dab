"""The service over HTTP: one address for each method, answers with ETags, errors with names."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from atdata.appview.operator import ingest_status
from atdata.appview.xrpc.changes import ChangeStream
from atdata.appview.xrpc.describing import did_document
from atdata.appview.xrpc.failures import QueryFailure, query_pairs, requested
from atdata.appview.xrpc.health import ServiceHealth
from atdata.appview.xrpc.lexicons import NAMESPACE, description, method_lexicons
from atdata.appview.xrpc.limits import RateLimiter, whole_seconds
from atdata.appview.xrpc.metrics import CONTENT_TYPE, ServiceMetrics
from atdata.appview.xrpc.service import AppViewService
from atdata.errors import AtdataError
from atdata.json_reader import read_json
from atdata.replica import Reading

T = TypeVar("T")

log = logging.getLogger("atdata.appview")

_MAX_BODY = 64 * 1024
_INDEXING = 20.0  # questions that fetching a record counts for
_INDEXED_AT_ONCE = 16
_MEASURING = 5.0  # questions that counting all that is held counts for


class XrpcEndpoints:
    """The addresses of a service.

    Args:
        service: that answers.
        limiter: counts what addresses ask.
        metrics: counts answers.
    """

    def __init__(self, service: AppViewService, limiter: RateLimiter, metrics: ServiceMetrics) -> None:
        self._service, self._limiter, self._metrics = service, limiter, metrics
        self._indexing = asyncio.Semaphore(_INDEXED_AT_ONCE)
        self._changes = ChangeStream(service.replica, self._limiter, self._metrics)

    @property
    def routes(self) -> list[Route | WebSocketRoute]:
        """The routes, each with what answers it."""
        return [
            WebSocketRoute(f"/xrpc/{NAMESPACE}.subscribeChanges", self._changes.follow),
            Route(f"/xrpc/{NAMESPACE}.indexNow", self._index_now, methods=["POST"]),
            Route("/xrpc/{nsid}", self._query, methods=["GET"]),
            Route("/openapi.json", self._counted(self._describe)),
            Route("/.well-known/did.json", self._counted(self._identify)),
            Route("/health", self._health),
            Route("/ready", self._counted(self._ready)),
            Route("/metrics", self._counted(self._show_metrics, _MEASURING)),
        ]

    # --- methods; those that ask the database do so in a thread

    def _query(self, request: Request) -> Response:
        method = request.path_params["nsid"].removeprefix(f"{NAMESPACE}.")
        known = method in self._service.queries and request.path_params["nsid"] != method

        def answer() -> Response:
            if not known:
                other = request.path_params["nsid"] in method_lexicons()
                raise QueryFailure(
                    "InvalidRequest" if other else "MethodNotImplemented",
                    "there is no such query",
                    400 if other else 501,
                )
            body, rev = self._service.ask(method, query_pairs(request.scope["query_string"]))
            return _tagged(request, body, {} if rev is None else {"Atproto-Repo-Rev": rev})

        return self._answered(request, method if known else "unknown", 1.0, answer)

    async def _index_now(self, request: Request) -> Response:
        try:
            body = await _body(request)
        except QueryFailure as failure:
            return _failed(failure)

        def answer() -> Response:
            with requested():
                value = read_json(body)
            return _json(self._service.index_now(value))

        async with self._indexing:  # whoever waits for a fetch holds a thread: others are left for questions
            return await run_in_threadpool(self._answered, request, "indexNow", _INDEXING, answer)

    def _answered(self, request: Request, method: str, cost: float, answer: Callable[[], Response]) -> Response:
        """An answer, or the error in its place: counted and logged."""
        began, address = time.monotonic(), request.client.host if request.client else None
        try:
            wait = self._limiter.wait(address, cost)
            response = _too_many(wait) if wait else answer()
        except QueryFailure as failure:
            response = _failed(failure)
        except AtdataError as error:
            failed = QueryFailure.of(error) or _fault(method, error)
            if failed.status >= 500:
                log.warning("no answer", extra={"facts": {"method": method, "error": str(error)}})
            response = _failed(failed)
        except Exception as error:  # noqa: BLE001  a fault of ours: it is logged, and nobody else sees it
            response = _failed(_fault(method, error))
        seconds = time.monotonic() - began
        self._metrics.answered(method, response.status_code, seconds)
        facts = {"method": method, "status": response.status_code, "ms": round(seconds * 1000, 1), "client": address}
        log.info("answered", extra={"facts": facts})
        return response

    def _counted(self, answer: Callable[[Request], Response], cost: float = 1.0) -> Callable[[Request], Response]:
        """Answers as many as one address may ask for."""

        def respond(request: Request) -> Response:
            wait = self._limiter.wait(request.client.host if request.client else None, cost)
            return _too_many(wait) if wait else answer(request)

        return respond

    def _describe(self, request: Request) -> Response:
        return _tagged(request, description(), {})

    def _identify(self, request: Request) -> Response:
        document = did_document(self._service.did)
        if document is None:
            raise HTTPException(404)
        return _tagged(request, document, {})

    # --- for those who watch

    async def _health(self, _: Request) -> Response:
        return _json({"status": "ok"})

    def _ready(self, _: Request) -> Response:
        state = self._state(ServiceHealth.of)
        if state is None:
            return _json({"ready": False}, 503)
        ready = state.is_ready(self._service.ready_lag)
        return _json({"ready": ready, **state.as_json()}, 200 if ready else 503)

    def _show_metrics(self, _: Request) -> Response:
        status = self._state(lambda reading: ingest_status(reading.sql))
        return Response(self._metrics.text(self._state(ServiceHealth.of), status), media_type=CONTENT_TYPE)

    def _state(self, work: Callable[[Reading], T]) -> T | None:
        try:
            return self._service.replica.read(work)
        except AtdataError as error:
            log.error("the database does not answer", extra={"facts": {"error": error.what}})
            return None


async def _body(request: Request) -> bytes:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise QueryFailure("InvalidRequest", "the body must be application/json")
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MAX_BODY:
                raise QueryFailure("PayloadTooLarge", f"the body must be at most {_MAX_BODY} bytes", 413)
    except ClientDisconnect:
        raise QueryFailure("InvalidRequest", "the body is not whole") from None
    return body


def _json(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


def _tagged(request: Request, value: Any, headers: dict[str, str]) -> Response:
    """An answer that whoever has it already need not be sent again. It is asked for each time: what is hidden is gone at once."""
    body = msgspec.json.encode(value)
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {**headers, "ETag": tag, "Cache-Control": "no-cache"}
    held = [item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")]
    if tag in held or "*" in held:
        return Response(None, 304, headers)
    return Response(body, 200, headers, "application/json")


def _failed(failure: QueryFailure) -> Response:
    return _json(failure.answer, failure.status)


def _fault(method: str, error: Exception) -> QueryFailure:
    log.error("a fault", extra={"facts": {"method": method}}, exc_info=error)
    return QueryFailure("InternalServerError", "a fault of this service; it was noted", 500)


def _too_many(seconds: float) -> Response:
    wait = whole_seconds(seconds)
    failure = QueryFailure("RateLimitExceeded", f"too many questions; wait {wait} s", 429)
    return _json(failure.answer, 429, {"Retry-After": str(wait)})


def refusal(error: HTTPException) -> Response:
    """The answer where no route of a query fits."""
    name = {404: "NotFound", 405: "InvalidRequest"}.get(error.status_code, "InvalidRequest")
    said = {"error": name, "message": "there is no such address, or not for this verb"}
    return _json(said, error.status_code, dict(error.headers or {}))
