"""Errors of the pages are pages: what is wrong, and where to go on."""

from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.page import page
from towline.reconciler.server.dashboard.reception import (
    NotSignedIn,
    Visitor,
    ask_to_sign_in,
    visitor_of,
)
from towline.reconciler.server.desk import Declined

_Answer = Callable[[Request, Exception], Awaitable[Response]]
_WORDS = {
    403: "You may not do this",
    404: "There is no such page",
    409: "Not now",
    422: "Something is wrong with what was sent",
}


def install_pages(app: FastAPI) -> None:
    """Answer errors under the dashboard's path as pages; all others stay as they are."""
    for kind in (Declined, RequestValidationError, HTTPException):
        former: Any = app.exception_handlers[kind]
        app.add_exception_handler(kind, _answering(former))

    async def not_signed_in(request: Request, _: Exception) -> Response:
        return ask_to_sign_in(request)

    app.add_exception_handler(NotSignedIn, not_signed_in)


def _answering(former: _Answer) -> _Answer:
    async def answer(request: Request, error: Exception) -> Response:
        path = request.url.path
        if path != PATH and not path.startswith(f"{PATH}/"):
            return await former(request, error)
        status, detail = _said(error)
        values = {
            "title": _WORDS.get(status, HTTPStatus(status).phrase),
            "status": status,
            "detail": detail,
        }
        visitor = await run_in_threadpool(_visitor, request)
        return page(request, "problem.html", values, visitor=visitor, status=status)

    return answer


def _said(error: Exception) -> tuple[int, str]:
    if isinstance(error, Declined):
        return error.status, error.detail
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        return 422, f"{first['loc'][-1]}: {first['msg']}"
    assert isinstance(error, HTTPException)
    return error.status_code, "" if error.status_code == 404 else str(error.detail)


def _visitor(request: Request) -> Visitor | None:
    try:
        return visitor_of(request)
    except NotSignedIn:
        return None
