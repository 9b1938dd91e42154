"""A person at the dashboard without a script: follows links, reads and sends forms."""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any, Protocol

import httpx

PAGE = "/admin/edge/ota"


@dataclass
class Element:
    """One start tag."""

    tag: str
    attributes: dict[str, str]


@dataclass
class Form:
    """Where a form goes, and the fields it has filled in already."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)


class Page(HTMLParser):
    """A page as it was parsed."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__()
        self.status = answer.status_code
        self.headers = answer.headers
        self.html = answer.text
        self.elements: list[Element] = []
        self.forms: list[Form] = []
        self.words = ""
        self.feed(answer.text)
        self.text = " ".join(self.words.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = {name: value or "" for name, value in attrs}
        self.elements.append(Element(tag, attributes))
        if tag == "form":
            self.forms.append(Form(attributes.get("action", ""), attributes.get("method", "get")))
        if tag == "input" and self.forms and attributes.get("type") != "checkbox":
            self.forms[-1].fields[attributes.get("name", "")] = attributes.get("value", "")

    def handle_data(self, data: str) -> None:
        self.words += f" {data}"

    def links(self) -> list[str]:
        """Where its links lead."""
        return [each.attributes.get("href", "") for each in self.elements if each.tag == "a"]

    def form(self, ends: str) -> Form:
        """The form whose action ends so."""
        (found,) = [each for each in self.forms if each.action.endswith(ends)]
        return found


class Reached(Protocol):
    """A server as its tests reach it."""

    client: httpx.Client
    tokens: dict[str, str]


class Guest:
    """One browser."""

    def __init__(self, server: Reached) -> None:
        self.client = server.client
        self.client.cookies.clear()
        self.tokens = server.tokens

    def sign_in(self, role: str = "operator") -> "Guest":
        """With the token of that role; the server must take it."""
        answer = self.send(self.get("/sign-in").form("/sign-in"), token=self.tokens[role])
        assert answer.status_code == 303, answer.text
        return self

    def get(self, path: str = "", **query: Any) -> Page:
        """A page, redirects followed."""
        url = path if path.startswith("/admin") else f"{PAGE}{path}"
        return Page(self.client.get(url, params=query or None, follow_redirects=True))

    def send(self, form: Form, **fields: str) -> httpx.Response:
        """Fill in a form and send it."""
        headers = {"Sec-Fetch-Site": "same-origin"}
        return self.client.post(form.action, data=form.fields | fields, headers=headers)
