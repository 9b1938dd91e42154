"""Errors of the API as RFC 9457 problems; nobody sees a traceback."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse

from towline.reconciler.server.desk import Declined
from towline.reconciler.server.request_ids import request_id
from towline.reconciler.server.wire import problem_document
from towline.reconciler.store.engine import AWAY


def install_problems(app: Starlette) -> None:
    """Answer every error as an RFC 9457 problem."""

    async def declined(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Declined)
        return problem_response(error.status, error.code, error.detail, **error.more)

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        if error.status_code == 400:
            return problem_response(400, "not-json", "the body is no JSON in UTF-8")
        code = {404: "not-found", 405: "method"}.get(error.status_code, "http")
        return problem_response(error.status_code, code, error.detail)

    async def broken(request: Request, _: Exception) -> JSONResponse:
        words = f"the server failed at request {request_id(request)}; its log says why: report it"
        return problem_response(500, "internal", words)

    async def away(_: Request, __: Exception) -> JSONResponse:
        return problem_response(503, "store", "the store cannot be used now; try again in a moment")

    for kind in AWAY:
        app.add_exception_handler(kind, away)
    app.add_exception_handler(Exception, broken)
    app.add_exception_handler(Declined, declined)
    app.add_exception_handler(HTTPException, refused)


def problem_response(status: int, code: str, detail: str, **more: object) -> JSONResponse:
    """A problem; `more` are further members of it."""
    document: dict[str, Any] = problem_document(status, code, detail, **more)
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else {}
    if "retry_after_s" in more:
        headers["Retry-After"] = str(more["retry_after_s"])
    return JSONResponse(document, status, headers, media_type="application/problem+json")
