"""Every page in both colour schemes: axe finds nothing, the console hears nothing, all fits."""

from collections.abc import Iterator
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Tab, new_tab
from tests.browser.peopled import people
from tests.server.test_admin_create import Fleet, fleet
from tests.server.test_serve import settings
from tests.server.visiting import PAGE

__all__ = ["fleet", "settings"]

pytestmark = pytest.mark.timeout(300)
"""A busy machine starts a browser slowly."""

LIGHTS: tuple[tuple[Literal["light", "dark"], int], ...] = (("light", 1280), ("dark", 420))
"""A desk in daylight, and a phone at night."""


@pytest.fixture
def busy(fleet: Fleet) -> tuple[Fleet, str]:
    """A fleet with much to see, and its run with most."""
    return fleet, people(fleet)


@pytest.fixture
def tab(browser: Browser, fleet: Fleet) -> Iterator[Tab]:
    """A tab that is not signed in."""
    opened = new_tab(browser, str(fleet.client.base_url))
    yield opened
    opened.close()


def look(tab: Tab, name: str) -> list[str]:
    """Judge the page that is open, and keep its pictures; returns what is wrong with it."""
    wrong = [f"{name}: {said}" for said in tab.said]
    tab.said.clear()
    for scheme, width in LIGHTS:
        tab.page.emulate_media(color_scheme=scheme)
        tab.page.set_viewport_size({"width": width, "height": 900})
        tab.picture(f"{name}-{scheme}")
        if faults := tab.faults():
            wrong.append(f"{name} in {scheme}: {faults}")
        if wider := tab.overflow():
            wrong.append(f"{name} in {scheme} is {wider} pixels wider than its window")
    return wrong


def test_every_page_that_shows_something(busy: tuple[Fleet, str], tab: Tab) -> None:
    fleet, run = busy
    wrong: list[str] = []
    tab.open("/sign-in")
    wrong += look(tab, "sign-in")
    tab.sign_in(fleet.tokens["admin"])
    pages = {
        "deployments": "",
        "deployments-paused": "?status=paused",
        "deployment": f"/deployments/{run}",
        "deployment-devices": f"/deployments/{run}?state=completed&begins=dev-00",
        "unmerged": "/deployments/waits-for-its-merge",
        "confirm": f"/deployments/{run}/rollback",
        "confirm-device": f"/deployments/{run}/devices/dev-0000/retry",
        "fleet": "/fleet",
        "fleet-labels": "/fleet?label=stage=🚀 pilot",
        "device": "/devices/dev-0000",
        "enrolments": "/enrolments",
        "approvals": "/approvals",
        "git": "/git",
        "events": "/events?all=yes",
        "audit": "/audit",
        "new": "/new",
        "problem": "/devices/none",
    }
    for name, path in pages.items():
        tab.open(path)
        # The only message that a page of an error cannot help.
        tab.said[:] = [each for each in tab.said if "status of 404" not in each]
        wrong += look(tab, name)
    assert not wrong, "\n".join(wrong)


def test_every_page_that_has_nothing_to_show(fleet: Fleet, tab: Tab) -> None:
    wrong: list[str] = []
    tab.sign_in(fleet.tokens["admin"])
    for name in ("deployments", "fleet", "approvals", "git", "events", "audit"):
        tab.open("" if name == "deployments" else f"/{name}")
        wrong += look(tab, f"empty-{name}")
    assert not wrong, "\n".join(wrong)


def test_the_steps_of_the_wizard(busy: tuple[Fleet, str], tab: Tab) -> None:
    fleet, _ = busy
    wrong: list[str] = []
    (fleet.folder.parent / "packages" / "lamp.tar.gz").write_bytes(b"a package")
    tab.sign_in(fleet.tokens["operator"])
    tab.open("/new")
    tab.press("Next")
    tab.has("this is needed")
    tab.said.clear()
    wrong += look(tab, "wizard-faults")
    tab.page.get_by_label("Name", exact=True).fill("Lamp " + "ü" * 240)
    tab.page.get_by_label("Version", exact=True).fill("2.0.0")
    tab.page.get_by_label("Component").fill("lamp")
    tab.press("Next")
    tab.has("60 devices match, e.g. dev-0000")
    tab.page.get_by_label("Labels").press_sequentially("site", delay=5)
    tab.has("The filters cannot be counted as they are.")
    tab.page.get_by_label("Labels").fill("")
    tab.page.get_by_label("Devices by id").press_sequentially("dev-0001, dev-0007")
    tab.has("2 devices match, e.g. dev-0001, dev-0007")
    wrong += look(tab, "wizard-devices")
    tab.press("Next")
    tab.page.get_by_label("Address").fill("lamp.tar.gz")
    tab.press("Look at it: size and checksum")
    tab.has("✓ 9 B (9 bytes)")
    wrong += look(tab, "wizard-package")
    tab.press("Next")
    tab.has("What its merge would do")
    wrong += look(tab, "wizard-review")
    tab.press("Put it on a branch")
    tab.has("waits for its merge")
    assert tab.page.url.startswith(f"{tab.url}{PAGE}/deployments/")
    wrong += look(tab, "wizard-done")
    assert not wrong, "\n".join(wrong)
