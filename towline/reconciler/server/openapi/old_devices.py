"""The two calls of old devices, described by hand: FastAPI does not serve them."""

from typing import Any

from towline.reconciler.server.openapi.problems import response

_DEVICE_ID = {
    "name": "device_id",
    "in": "query",
    "required": True,
    "description": "the device's id, or its UUID",
    "schema": {"type": "string"},
    "example": "pi-0042",
}
_RUN = {
    "name": "deployment_id",
    "in": "path",
    "required": True,
    "description": "as check-update said it",
    "schema": {"type": "string", "format": "uuid"},
    "example": "6f0f1c1e-6b8a-5d0c-9f5e-3f3b7a3f2d11",
}
_BODY = {"$ref": "#/components/schemas/StatusWord"}


def _failing(*statuses: int) -> dict[str, Any]:
    return {str(status): response(status) for status in statuses}


PATHS: dict[str, Any] = {
    "/api/v1/ota/check-update": {
        "get": {
            "operationId": "check_update",
            "summary": "Check Update",
            "description": "What an old device is to install, if anything.",
            "security": [{"oldDevice": []}],
            "parameters": [_DEVICE_ID],
            "responses": {"200": {"description": "An answer"}} | _failing(400, 401, 403, 422, 503),
        }
    },
    "/api/v1/ota/deployments/{deployment_id}/status": {
        "post": {
            "operationId": "report_status",
            "summary": "Report Status",
            "description": "One step of an old device's update. A repeat is 200, a step back 409.",
            "security": [{"oldDevice": []}],
            "parameters": [_RUN, _DEVICE_ID],
            "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}},
            "responses": {"200": {"description": "It was taken in"}}
            | _failing(400, 401, 403, 404, 409, 413, 422),
        }
    },
}
