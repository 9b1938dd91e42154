"""The page of the API at /api/docs, made from its OpenAPI document: no script, all from here."""

import json
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

PATH, DOCUMENT = "/api/docs", "/api/openapi.json"
TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self';"
    " form-action 'none'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

router = APIRouter(include_in_schema=False)


@router.get(PATH)
def show(request: Request) -> Response:
    """Every call with its role, its fields and an example."""
    return HTMLResponse(_rendered(json.dumps(request.app.openapi())), 200, HEADERS)


@cache
def _rendered(text: str) -> str:
    document = json.loads(text)
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES), autoescape=True, undefined=StrictUndefined
    )
    environment.filters |= {"example": _example, "coded": _coded, "allowed": _allowed}
    values = {"document": document, "parts": _parts(document), "source": DOCUMENT}
    return environment.get_template("api.html").render(values)


def _example(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _coded(text: str) -> Markup:
    """What stands between backticks is code."""
    parts = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if at % 2 else escape(part)
        for at, part in enumerate(parts)
    )


def _allowed(schema: dict[str, Any], schemas: dict[str, Any]) -> str:
    """What a parameter may be, in words."""
    kinds = [schema, *schema.get("anyOf", ())]
    kinds += [kind["items"] for kind in kinds if "items" in kind]
    kinds = [schemas[kind["$ref"].split("/")[-1]] if "$ref" in kind else kind for kind in kinds]
    words = []
    for kind in kinds:
        if "enum" in kind:
            words.append(", ".join(f"`{each}`" for each in kind["enum"]))
        elif "minimum" in kind and "maximum" in kind:
            words.append(f"{kind['minimum']} to {kind['maximum']}")
        elif kind.get("type") == "boolean":
            words.append("`true` or `false`")
    if schema.get("default") not in (None, "", [], False):
        words.append(f"else `{schema['default']}`")
    return "; ".join(words)


def _parts(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Calls by their tag, each with its method and path."""
    parts: dict[str, list[dict[str, Any]]] = {}
    for path, methods in document["paths"].items():
        for method, call in methods.items():
            shown = {"method": method.upper(), "path": path, "parameters": []} | call
            shown["body"] = _json_of(call.get("requestBody"))
            for status, answer in call["responses"].items():
                if status.startswith("2"):
                    shown |= {"status": status, "answer": _json_of(answer)}
            parts.setdefault(call["tags"][0], []).append(shown)
    return dict(sorted(parts.items()))


def _json_of(holder: dict[str, Any] | None) -> Any:
    """The example of a body or an answer; None without one."""
    content = (holder or {}).get("content", {})
    return content.get("application/json", {}).get("example")
