"""The answers of a service over HTTP: to queries of programs, and pages."""

from __future__ import annotations

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import Response

from atdata.appview.web.reader import WebReader
from atdata.appview.web.serving import WebEndpoints, page_response, problem
from atdata.appview.xrpc.app import XrpcEndpoints, refusal
from atdata.appview.xrpc.limits import RateLimiter
from atdata.appview.xrpc.metrics import ServiceMetrics
from atdata.appview.xrpc.service import AppViewService

_EXPOSED = ["ETag", "Atproto-Repo-Rev", "Retry-After"]


def make_app(service: AppViewService) -> Starlette:
    """The application that answers for a service."""
    limiter, metrics = RateLimiter(service.limit), ServiceMetrics(service.ingest)
    queries, pages = XrpcEndpoints(service, limiter, metrics), WebEndpoints(WebReader(service), limiter, metrics)
    cors = Middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"], expose_headers=_EXPOSED
    )
    handlers: dict[Any, Any] = {HTTPException: _refused}
    app = Starlette(routes=[*queries.routes, *pages.routes], middleware=[cors], exception_handlers=handlers)
    app.router.redirect_slashes = False  # it would lead to whatever the request calls this host
    return app


def _refused(request: Request, error: HTTPException) -> Response:
    """The answer where no route fits."""
    if request.url.path.startswith("/xrpc/"):
        return refusal(error)
    page = problem(error.status_code, "There is no such page, or not for this verb")
    return page_response(request, page, dict(error.headers or {}))
