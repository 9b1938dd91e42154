"""The call that tells of health, described by hand: FastAPI does not serve it."""

from typing import Any

from towline.reconciler.server import health
from towline.reconciler.server.openapi.problems import response

PATHS: dict[str, Any] = {
    health.PATH: {
        "get": {
            "operationId": health.healthz.__name__,
            "summary": "Healthz",
            "description": health.healthz.__doc__,
            "responses": {"200": {"description": "An answer"}, "503": response(503)},
        }
    }
}
