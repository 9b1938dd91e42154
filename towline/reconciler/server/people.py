"""The application for people: API, pages, and the description of the API.

It brings FastAPI and all that people may ask with it, a quarter of a server's memory, so that
nothing else imports it: it is made when the first of them asks (`front.MadeWhenAsked`).
"""

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

import towline
from towline.reconciler.server import (
    admin,
    admin_audit,
    admin_create,
    admin_devices,
    admin_enrolment,
    admin_leaving,
    admin_old_devices,
    admin_tokens,
    plans,
    replays,
    streams,
)
from towline.reconciler.server.buckets import Buckets
from towline.reconciler.server.callers import receive_callers
from towline.reconciler.server.dashboard import web as dashboard
from towline.reconciler.server.desk import Desks
from towline.reconciler.server.known_query import only_known
from towline.reconciler.server.live import Live
from towline.reconciler.server.oidc import Provider
from towline.reconciler.server.openapi import document
from towline.reconciler.server.openapi import page as api_page
from towline.reconciler.server.package_look import PackageLook
from towline.reconciler.server.problem_answers import install_problems, problem_response
from towline.reconciler.server.request_ids import RequestIds

_CALLS = (
    admin_create,
    admin,
    admin_devices,
    admin_tokens,
    admin_enrolment,
    admin_leaving,
    admin_old_devices,
    admin_audit,
    plans,
    replays,
    streams,
)


def application(
    desks: Desks,
    live: Live,
    failures: Buckets,
    provider: Provider | None,
    package_look: PackageLook,
) -> FastAPI:
    """All of it; `failures` counts wrong tokens, `provider` is who else may let people in."""
    app = FastAPI(
        title="Towline",
        version=towline.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=api_page.DOCUMENT,
        generate_unique_id_function=lambda route: route.name,
    )
    receive_callers(app, desks, failures)
    app.state.live = live
    app.add_middleware(RequestIds)
    install_problems(app)
    app.add_exception_handler(RequestValidationError, _invalid)
    for each in _CALLS:
        app.include_router(each.router, dependencies=[Depends(only_known)])
    app.include_router(api_page.router)
    dashboard.install(app, provider, package_look)
    document.install(app)
    return app


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return problem_response(422, "bad-field", f"{place}: {first['msg']}")
