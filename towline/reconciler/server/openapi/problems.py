"""How calls fail, as the description of the API tells it: problems of RFC 9457, with examples."""

from typing import Any

from towline.reconciler.server.wire import problem_document
from towline.reconciler.store.people import Role

PROBLEM: dict[str, Any] = {
    "title": "Problem",
    "description": "RFC 9457; a `code` of kebab case, and further members where they help.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}
_STALE = "it was changed since you read it: read it again, and send the ETag of what you read"
EXAMPLES = {
    400: ("not-json", "the body is no JSON in UTF-8"),
    401: ("token", "this admin token is unknown, expired or revoked"),
    403: ("role", "this needs the role operator; the token has viewer"),
    404: ("not-found", "there is no deployment firmware-update-v2.1.0"),
    409: ("not-allowed", "pause is not allowed while the run is paused; allowed: resume, cancel"),
    412: ("stale", _STALE),
    413: ("too-large", "a body is at most 1048576 bytes"),
    422: ("bad-field", "query.limit: Input should be less than or equal to 1000"),
    428: ("no-if-match", "If-Match is needed: the ETag that GET answered with"),
    503: ("not-ready", "no commit of the fleet repository is in force yet"),
}
WORDS = {
    400: "The body is no JSON",
    401: "No valid token",
    403: "The token may not",
    404: "There is none, or not for you",
    409: "The state does not allow it",
    412: "It was changed since you read it",
    413: "The body is too large",
    422: "A field is wrong",
    428: "If-Match is needed",
    503: "Try again later",
}


def problems_of(call: dict[str, Any], path: str, method: str, role: Role | None) -> dict[str, Any]:
    """The responses of a call that failed, by status."""
    return {str(status): response(status) for status in _statuses(call, path, method, role)}


def response(status: int) -> dict[str, Any]:
    """One of them."""
    code, detail = EXAMPLES[status]
    content = {
        "schema": {"$ref": "#/components/schemas/Problem"},
        "example": problem_document(status, code, detail),
    }
    return {"description": WORDS[status], "content": {"application/problem+json": content}}


def _statuses(call: dict[str, Any], path: str, method: str, role: Role | None) -> list[int]:
    if role is None:
        return []
    parameters = {each["name"]: each for each in call.get("parameters", ())}
    guarded = "If-Match" in parameters
    does = method in ("post", "put", "patch", "delete")
    asks = bool(parameters) or "requestBody" in call
    wanted = {
        400: "requestBody" in call,
        401: True,
        403: role is not Role.VIEWER,
        404: "{" in path or does or "repository" in path or "deployment" in parameters,
        409: does,
        412: guarded,
        413: does,
        422: asks or does,
        428: guarded and method == "put",
        503: True,
    }
    return [status for status, is_one in wanted.items() if is_one]
