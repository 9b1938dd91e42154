"""The dashboard's door: signing in and out, visits, forms of other sites, headers."""

import re
from collections.abc import Iterator

import pytest
from fastapi.routing import iter_route_contexts
from sqlalchemy import update

from tests.server.conftest import NOW, ORGANIZATION, Running, wall
from tests.server.described import application_at
from tests.server.visiting import PAGE, Guest, Page
from towline.reconciler.server.callers import FAILURES_AT_ONCE
from towline.reconciler.server.dashboard.visits import LIFE_S, MOST, Visits
from towline.reconciler.server.desk import Desks
from towline.reconciler.store import people
from towline.reconciler.store import tables as t
from towline.reconciler.store.engine import Store
from towline.reconciler.store.people import Person, Role


def test_every_page_asks_to_sign_in_and_leads_on_to_where_one_wanted_to_go(server: Running) -> None:
    guest = Guest(server)
    asked = guest.get("/fleet", presence="online")
    assert "Admin token" in asked.text
    answer = guest.send(asked.form("/sign-in"), token=server.tokens["viewer"])
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"{PAGE}/fleet?presence=online",
    )


def test_the_cookie_is_for_this_site_alone_and_does_not_hold_the_token(server: Running) -> None:
    guest = Guest(server)
    answer = guest.send(guest.get("/sign-in").form("/sign-in"), token=server.tokens["viewer"])
    (cookie,) = [c for c in answer.headers.get_list("set-cookie") if "visit=" in c]
    for word in ("HttpOnly", "Secure", "SameSite=strict", f"Path={PAGE}", f"Max-Age={LIFE_S}"):
        assert word in cookie
    assert server.tokens["viewer"].split("_")[2] not in cookie


@pytest.mark.parametrize("onward", ["https://evil.example/", "//evil.example", "/api/v1", ""])
def test_signing_in_leads_to_no_other_site(server: Running, onward: str) -> None:
    guest = Guest(server)
    form = guest.get("/sign-in", onward=onward).form("/sign-in")
    answer = guest.send(form, token=server.tokens["viewer"])
    assert answer.headers["location"] == PAGE


def test_a_wrong_token_is_refused_in_words(server: Running) -> None:
    guest = Guest(server)
    answer = guest.send(guest.get("/sign-in").form("/sign-in"), token="tow_0_0")
    assert answer.status_code == 401
    assert "unknown, expired or revoked" in answer.text


def test_a_sign_in_form_that_another_site_made_begins_no_visit(server: Running) -> None:
    guest = Guest(server)
    token = server.tokens["viewer"]
    form = guest.get("/sign-in").form("/sign-in")
    form.fields["csrf"] = "guessed"
    assert guest.send(form, token=token).status_code == 403
    right = guest.get("/sign-in").form("/sign-in")
    for site in ("cross-site", "same-site"):
        elsewhere = guest.client.post(
            right.action, data=right.fields | {"token": token}, headers={"Sec-Fetch-Site": site}
        )
        assert elsewhere.status_code == 403, site
    assert "Admin token" in guest.get().text
    assert guest.send(right, token=token).status_code == 303


@pytest.mark.parametrize("body", [b"\xff=1", b"&".join(b"a=%d" % n for n in range(21))])
def test_what_no_form_of_these_pages_sends_is_422(server: Running, body: bytes) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.client.post(f"{PAGE}/sign-in", content=body, headers=kind)
    assert answer.status_code == 422
    assert "no form of these pages" in answer.text


def test_a_form_of_no_visit_at_all_begins_none(server: Running) -> None:
    fields = {"csrf": "", "token": server.tokens["viewer"]}
    answer = server.client.post(f"{PAGE}/sign-in", data=fields)
    assert (answer.status_code, "out of date" in answer.text) == (403, True)


def test_a_token_of_some_devices_opens_no_page(server: Running) -> None:
    with server.store.write() as connection:
        limited = people.create_admin_token(
            connection, "acme", name="x", role=Role.ADMIN, now=NOW, labels={"site": "a"}
        )
    guest = Guest(server)
    answer = guest.send(guest.get("/sign-in").form("/sign-in"), token=limited)
    assert (answer.status_code, "limited to some devices" in answer.text) == (403, True)
    assert "Admin token" in guest.get().text


def test_wrong_tokens_are_counted_here_too(server: Running) -> None:
    guest = Guest(server)
    form = guest.get("/sign-in").form("/sign-in")
    said = [guest.send(form, token="tow_0_0").status_code for _ in range(FAILURES_AT_ONCE + 1)]
    assert said == [401] * FAILURES_AT_ONCE + [429]


def test_a_token_in_the_address_opens_nothing(server: Running) -> None:
    assert "Admin token" in Guest(server).get("", token=server.tokens["admin"]).text


def test_signing_out_ends_the_visit_for_whoever_kept_the_cookie(server: Running) -> None:
    guest = Guest(server).sign_in("viewer")
    kept = guest.client.cookies["__Secure-towline-visit"]
    assert guest.send(guest.get().form("/sign-out")).status_code == 303
    guest.client.cookies.set("__Secure-towline-visit", kept)
    assert "Admin token" in guest.get().text


def test_a_visit_ends_with_its_token(server: Running) -> None:
    guest = Guest(server).sign_in("operator")
    assert "Deployments" in guest.get().text
    with server.store.write() as connection:
        revoked = t.admin_tokens.c.role == "operator"
        connection.execute(update(t.admin_tokens).where(revoked).values(revoked_at=wall()))
    assert "Admin token" in guest.get().text


def test_a_visit_ends_when_its_token_expires(server: Running) -> None:
    with server.store.write() as connection:
        token = people.create_admin_token(
            connection,
            ORGANIZATION,
            name="soon over",
            role=Role.VIEWER,
            now=wall(),
            expires_at=wall() + 3600,
        )
    guest = Guest(server)
    guest.send(guest.get("/sign-in").form("/sign-in"), token=token)
    assert "soon over (viewer)" in guest.get().text
    with server.store.write() as connection:
        connection.execute(update(t.admin_tokens).values(expires_at=wall() - 1))
    assert "Admin token" in guest.get().text


def test_visits_end_by_themselves_and_the_oldest_goes_when_there_are_too_many() -> None:
    visits = Visits()
    somebody = Person("Ada", ORGANIZATION, Role.VIEWER, "a", None)
    first = visits.begin(somebody, 1000, LIFE_S, by_token=True)
    assert visits.find(first, 1000 + LIFE_S - 1) is not None
    assert visits.find(first, 1000 + LIFE_S) is None
    for _ in range(MOST):
        visits.begin(somebody, 1000, LIFE_S, by_token=True)
    assert visits.find(first, 1000) is None


PATHS = ["", "/fleet", "/events", "/sign-in", "/nothing", "/deployments/none", "/devices/none"]


@pytest.mark.parametrize("path", PATHS)
def test_a_page_has_strict_headers_and_nothing_inline(server: Running, path: str) -> None:
    shown = Guest(server).sign_in("admin").get(path)
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert shown.headers["x-content-type-options"] == "nosniff"
    assert shown.headers["cache-control"] == "no-store"
    assert_nothing_inline(shown)


def routes(store: Store) -> Iterator[tuple[str, str]]:
    """Method and address of every call of the dashboard, with names of nothing in it."""
    desks = Desks(store, lambda name: pytest.fail(f"{name} was looked for"))
    for route in iter_route_contexts(application_at(desks).routes):
        path = re.sub(r"\{[^}]*\}", "nothing", str(route.path))
        if path.startswith(PAGE):
            yield from ((method, path) for method in route.methods or ())


def test_no_form_is_taken_without_its_secret_or_from_another_site_and_all_answers_are_strict(
    server: Running,
) -> None:
    guest = Guest(server).sign_in("admin")
    secret = guest.get().form("/sign-out").fields["csrf"]
    tried = 0
    for method, path in routes(server.store):
        if "/stream" in path:
            continue
        sent = [({}, {})] if method == "GET" else [
            ({"csrf": "guessed"}, {}),
            ({"csrf": secret}, {"Sec-Fetch-Site": "cross-site"}),
        ]  # fmt: skip
        for fields, headers in sent:
            answer = guest.client.request(method, path, data=fields or None, headers=headers)
            assert answer.headers["x-content-type-options"] == "nosniff", path
            assert "/static/" in path or answer.headers["content-security-policy"], path
            assert method == "GET" or answer.status_code == 403, path
            tried += method != "GET"
    assert tried >= 16
    assert guest.get("/fleet").status == 200, "nobody was signed out"


def assert_nothing_inline(shown: Page) -> None:
    for element in shown.elements:
        names = [name for name in element.attributes if name == "style" or name.startswith("on")]
        assert not names, element
        assert element.tag != "style"
        assert element.tag != "script" or element.attributes["src"].startswith(PAGE)
    assert not re.search(r"<script[^>]*>[^<]", shown.html)


def test_style_script_and_icon_are_served_from_here_and_the_script_is_small(
    server: Running,
) -> None:
    for name, kind in (
        ("style.css", "text/css"),
        ("live.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ):
        answer = server.client.get(f"{PAGE}/static/{name}")
        assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, kind)
        assert len(answer.content) <= 12 * 1024
    assert server.client.get(f"{PAGE}/static/web.py").status_code == 404


def test_errors_are_pages_here_and_problems_in_the_api(server: Running) -> None:
    guest = Guest(server).sign_in("viewer")
    for path in ("/nothing/at/all", "/deployments/none", "/devices/none"):
        shown = guest.get(path)
        assert shown.status == 404
        assert "There is no such page" in shown.text
    assert guest.get("", status="done").status == 422
    api = server.client.get("/api/v1/admin/ota/deployments/none", headers=server.admin())
    assert api.json()["code"] == "not-found"
