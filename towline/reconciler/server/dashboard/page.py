"""Pages as answers: templates, the headers that go with them, and words for times and states."""

import json
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from towline.reconciler.lengths import counted
from towline.reconciler.plan_words import size
from towline.reconciler.server.callers import desks_of
from towline.reconciler.server.dashboard import PATH
from towline.reconciler.server.dashboard.visits import Visit
from towline.reconciler.store.people import Person, Role
from towline.schemas.states import COLOURS, GLYPHS

TEMPLATES = Path(__file__).parent / "templates"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none';"
    " base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
WORDS = {word: (glyph, COLOURS[word]) for word, glyph in GLYPHS.items()} | {
    "online": ("●", "green"),
    "offline": ("○", "yellow"),
}
"""Each word of a state with its glyph and colour."""
HEALTH_COLOURS = {
    "healthy": "green",
    "progressing": "cyan",
    "degraded": "red",
    "paused": "yellow",
    "failed": "red",
    "unknown": "dim",
}


def page(
    request: Request,
    name: str,
    values: dict[str, Any],
    *,
    visitor: "tuple[Person, Visit] | None" = None,
    status: int = 200,
) -> Response:
    """A page; with a visitor it has the navigation, and what was just done is said once."""
    person, visit = visitor or (None, None)
    common = {
        "person": person,
        "csrf": visit.csrf if visit else "",
        "notice": visit.take_notice() if visit else "",
        "may_administer": person is not None and person.role.may_act_as(Role.ADMIN),
        "may_act": person is not None and person.role.may_act_as(Role.OPERATOR),
        "trust_warnings": desks_of(request).of(person.organization).warnings() if person else (),
        "here": request.url.path,
    }
    text = _templates.get_template(name).render(common | values)
    return HTMLResponse(text, status, HEADERS)


def see_other(where: str) -> RedirectResponse:
    """Go on with a GET."""
    return RedirectResponse(where, 303, headers=HEADERS)


def _time(text: str | None) -> Markup:
    """`2026-09-21T14:13:20Z` as people read it."""
    if not text:
        return Markup("–")  # noqa: RUF001
    shown = text.replace("T", " ").removesuffix("Z")
    return Markup('<time datetime="{}">{} UTC</time>').format(text, shown)


def _state(word: str) -> Markup:
    """A word of a state with its glyph and colour."""
    glyph, colour = WORDS.get(word, ("·", "dim"))
    shown = word.replace("_", " ")
    return Markup('<span class="state {}"><span aria-hidden="true">{}</span> {}</span>').format(
        colour, glyph, shown
    )


def _health(word: str) -> Markup:
    return Markup('<span class="{}">{}</span>').format(HEALTH_COLOURS.get(word, "dim"), word)


def _named(text: str | None) -> Markup:
    """A text of other people: its direction is its own, and it never widens the page."""
    return Markup('<bdi class="named">{}</bdi>').format(escape(text or ""))


_templates = Environment(
    loader=FileSystemLoader(TEMPLATES),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_templates.globals |= {"path": PATH, "state_words": json.dumps(WORDS, ensure_ascii=False)}
_templates.filters |= {
    "when": _time,
    "state": _state,
    "health": _health,
    "named": _named,
    "counted": counted,
    "bytes": size,
}
