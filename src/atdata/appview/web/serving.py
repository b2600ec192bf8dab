"""The pages over HTTP: an address for each, headers that let nothing run, errors as pages."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from atdata.appview.web.pages import Page
from atdata.appview.web.reader import LOOK, Answer, Elsewhere, KeptFile, WebReader
from atdata.appview.web.rendering import render
from atdata.appview.web.service_pages import ProblemPage
from atdata.appview.web.style import STYLE, TYPES, static_file, style_sheet
from atdata.appview.xrpc.failures import QueryFailure, query_pairs
from atdata.appview.xrpc.limits import RateLimiter, whole_seconds
from atdata.appview.xrpc.metrics import ServiceMetrics
from atdata.errors import AtdataError

__all__ = ["SECURITY", "STYLE", "WebEndpoints", "page_response", "style_sheet"]

log = logging.getLogger("atdata.appview")

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
"""Headers of every page: nothing runs, nothing comes from elsewhere, nobody frames it."""

_PROBLEMS = {
    404: "Nothing is here",
    400: "That cannot be asked",
    405: "That cannot be done here",
    429: "Too many questions",
    500: "A fault of this service",
    503: "Not just now",
}
_ROBOTS = b"User-agent: *\nDisallow: /search\nDisallow: /xrpc/\nDisallow: /*?samples\n"
_LOOKING = 10.0  # questions that looking at samples counts for
_KEPT = "public, max-age=31536000, immutable"


class WebEndpoints:
    """The addresses of pages.

    Args:
        reader: makes the pages.
        limiter: counts what addresses ask.
        metrics: counts answers.
    """

    def __init__(self, reader: WebReader, limiter: RateLimiter, metrics: ServiceMetrics) -> None:
        self._reader, self._limiter, self._metrics = reader, limiter, metrics

    @property
    def routes(self) -> list[Route]:
        """The routes, each with what answers it."""
        reader, record = self._reader, "/at/{authority}/{collection}/{rkey}"
        pages: list[tuple[str, str, Callable[[Request], Answer]]] = [
            ("/", "home", lambda _: reader.home()),
            ("/about", "about", lambda _: reader.about()),
            ("/search", "search", self._search),
            ("/at/{authority}", "account", lambda asked: reader.account(asked.path_params["authority"])),
            (record, "record", lambda asked: reader.record(**asked.path_params, look=asked.query_params.get(LOOK))),
            (f"{record}/proof", "proof", lambda asked: reader.proof(**asked.path_params)),
            (f"{record}/proof.car", "proof", lambda asked: reader.proof_file(**asked.path_params)),
            ("/@{authority}", "account", lambda asked: reader.account(asked.path_params["authority"])),
            ("/@{authority}/{name}", "named", self._named),
        ]
        robots = Route("/robots.txt", lambda _: Response(_ROBOTS, media_type="text/plain"), methods=["GET"])
        return [*(self._route(*page) for page in pages), *static_routes(), robots]

    def _route(self, path: str, name: str, answer: Callable[[Request], Answer]) -> Route:
        def respond(request: Request) -> Response:
            return self._answered(request, f"page.{name}", answer)

        return Route(path, respond, methods=["GET"])

    def _search(self, request: Request) -> Answer:
        said = dict(query_pairs(request.scope["query_string"]))
        return self._reader.search(said.get("q", ""), said.get("cursor") or None)

    def _named(self, request: Request) -> Answer:
        name, at, version = request.path_params["name"].rpartition("@")
        account = request.path_params["authority"]
        return self._reader.named(account, name, version) if at and name else self._reader.named(account, version, None)

    def _answered(self, request: Request, name: str, answer: Callable[[Request], Answer]) -> Response:
        """A page, or the one in its place: counted and logged."""
        began, address = time.monotonic(), request.client.host if request.client else None
        wait = whole_seconds(self._limiter.wait(address, _LOOKING if LOOK in request.query_params else 1.0))
        headers = {"Retry-After": str(wait)} if wait else {}
        found = problem(429, f"Wait {wait} s, and ask again.") if wait else self._found(request, name, answer)
        response = _response(request, found, headers)
        seconds = time.monotonic() - began
        self._metrics.answered(name, response.status_code, seconds)
        facts = {"method": name, "status": response.status_code, "ms": round(seconds * 1000, 1), "client": address}
        log.info("answered", extra={"facts": facts})
        return response

    def _found(self, request: Request, name: str, answer: Callable[[Request], Answer]) -> Answer:
        try:
            return answer(request)
        except QueryFailure as failure:
            return problem(failure.status, failure.message)
        except AtdataError as error:
            failed = QueryFailure.of(error)
            return _fault(name, error) if failed is None else problem(failed.status, failed.message)
        except Exception as error:  # noqa: BLE001  a fault of ours: it is logged, and nobody else sees it
            return _fault(name, error)


def static_routes() -> list[Route]:
    """The routes of the files that every page needs."""
    return [Route(path, _static, methods=["GET"]) for path in TYPES]


def problem(status: int, message: str) -> ProblemPage:
    """The page that says what is wrong."""
    said = message[:1].upper() + message[1:]
    said += "" if said.endswith((".", "…")) else "."
    return ProblemPage(code=status, heading=_PROBLEMS.get(status, "It cannot be shown"), message=said)


def page_response(request: Request, page: Page, headers: dict[str, str] | None = None) -> Response:
    """A page as it is sent, or that whoever asks has it already. It is asked for each time: what is hidden is gone at once."""
    body = render(page).encode("utf-8", "replace")
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    sent = {**SECURITY, **(headers or {}), "ETag": tag, "Cache-Control": "no-cache"}
    held = [item.strip().removeprefix("W/") for item in request.headers.get("if-none-match", "").split(",")]
    if page.status == 200 and (tag in held or "*" in held):
        return Response(None, 304, sent)
    return Response(body, page.status, sent, "text/html")


def _response(request: Request, answer: Answer, headers: dict[str, str]) -> Response:
    if isinstance(answer, Elsewhere):
        return RedirectResponse(answer.path, 302, {**SECURITY, "Cache-Control": "no-cache"})
    if isinstance(answer, KeptFile):
        named = {"Content-Disposition": f'attachment; filename="{answer.name}"', "Cache-Control": "no-cache"}
        return Response(answer.body, 200, {**SECURITY, **named}, answer.media_type)
    try:
        return page_response(request, answer, headers)
    except Exception as error:  # noqa: BLE001  a fault of a template
        return page_response(request, _fault("render", error))


def _fault(name: str, error: Exception) -> ProblemPage:
    log.error("a fault", extra={"facts": {"method": name}}, exc_info=error)
    return problem(500, "It was noted.")


def _static(request: Request) -> Response:
    name, media_type = TYPES[request.url.path]
    return Response(static_file(name), 200, {**SECURITY, "Cache-Control": _KEPT}, media_type)
