"""Texts that no database keeps and no JSON tells: a NUL, and half of a surrogate pair."""

import re

from towline.reconciler.server.wire import Answer, Scope, headers_of, problem

_ESCAPED = re.compile(
    rb"(?<!\\)(?:\\\\)*(?:\\u0000"
    rb"|\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)
"""In JSON; a backslash that is escaped itself begins nothing."""


def refusal(scope: Scope, body: bytes) -> Answer | None:
    """What a request with such a text is answered with; None for every other one."""
    for place, is_there in (
        ("path", "\x00" in scope["path"]),
        ("query", b"%00" in scope["query_string"]),
        ("body", _is_in(body, headers_of(scope).get("content-type", ""))),
    ):
        if is_there:
            words = f"{place}: a NUL or half of a surrogate pair stands here; remove it"
            return problem(422, "bad-field", words)
    return None


def _is_in(body: bytes, content_type: str) -> bool:
    if content_type.startswith("application/x-www-form-urlencoded"):
        return b"%00" in body or b"\x00" in body
    return _ESCAPED.search(body) is not None
