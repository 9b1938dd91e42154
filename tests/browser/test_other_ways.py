"""The dashboard without a script, and by the keyboard alone."""

from collections.abc import Iterator

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


@pytest.fixture
def plain(browser: Browser, fleet: Fleet) -> Iterator[Tab]:
    """A tab that runs no script."""
    opened = new_tab(browser, str(fleet.client.base_url), has_script=False)
    yield opened
    opened.close()


@pytest.fixture
def tab(browser: Browser, fleet: Fleet) -> Iterator[Tab]:
    """A tab whose mouse is not touched."""
    opened = new_tab(browser, str(fleet.client.base_url))
    yield opened
    opened.close()


def test_everything_works_without_a_script(fleet: Fleet, plain: Tab) -> None:
    run = people(fleet)
    (fleet.folder.parent / "packages" / "lamp.tar.gz").write_bytes(b"a package")
    plain.sign_in(fleet.tokens["operator"])
    plain.open(f"/deployments/{run}")
    plain.confirm("Cancel")
    plain.has("⊘ cancelled")
    plain.open("/fleet")
    plain.page.get_by_label("Id contains").fill("0007")
    plain.press("Search")
    plain.has("1 device of 60")
    plain.open()
    plain.press("New Deployment")
    plain.page.get_by_label("Name", exact=True).fill("Lamp")
    plain.page.get_by_label("Version", exact=True).fill("2.0.0")
    plain.page.get_by_label("Component").fill("lamp")
    plain.press("Next")
    plain.page.get_by_label("Devices by id").fill("dev-0001")
    plain.press("Count")
    plain.has("1 device matches, e.g. dev-0001.")
    plain.press("Next")
    plain.page.get_by_label("Address").fill("lamp.tar.gz")
    plain.press("Look at it: size and checksum")
    plain.press("Next")
    plain.press("Commit")
    plain.has_soon("WaitingForStatement")


def focus(tab: Tab) -> str:
    """The name of what has the focus."""
    found: str = tab.page.evaluate(
        "(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()"
    )
    return found


def tab_to(tab: Tab, name: str) -> None:
    """Press Tab until something of that name has the focus, which must be seen."""
    for _ in range(80):
        if focus(tab) == name:
            width = "parseFloat(getComputedStyle(document.activeElement).outlineWidth)"
            assert tab.page.evaluate(width) >= 2, f"{name} has the focus, and nobody sees it"
            return
        tab.page.keyboard.press("Tab")
    raise AssertionError(f"no Tab leads to {name}")


def test_everything_is_reached_by_the_keyboard(fleet: Fleet, tab: Tab) -> None:
    keyboard = tab.page.keyboard
    tab.open("/sign-in")
    keyboard.type(fleet.tokens["operator"])
    keyboard.press("Enter")
    tab.page.get_by_role("heading", name="Deployments", level=1).wait_for()
    keyboard.press("Tab")
    assert focus(tab) == "Skip to the content"
    keyboard.press("Enter")
    tab_to(tab, "New Deployment")
    keyboard.press("Enter")
    tab.page.get_by_role("heading", name="New Deployment", level=1).wait_for()
    for label, text in (("Name", "Lamp"), ("Version", "2.0.0"), ("Component", "lamp")):
        tab_to(tab, label)
        keyboard.press("Control+A")
        keyboard.type(text)
    # Enter in a field goes on, not back.
    keyboard.press("Enter")
    tab.has("Devices that come later join by themselves")
    tab_to(tab, "Next")
    keyboard.press("Enter")
    tab.page.get_by_label("Address").wait_for()
    tab_to(tab, "Address")
    keyboard.type("lamp.tar.gz")
    tab_to(tab, "Checksum")
    keyboard.type("sha256:" + "0c" * 32)
    tab_to(tab, "Next")
    keyboard.press("Enter")
    tab.has("What its merge would do")
    tab_to(tab, "Put it on a branch")
    keyboard.press("Enter")
    tab.has("waits for its merge")
    assert tab.page.url.startswith(f"{tab.url}{PAGE}/deployments/")
    assert tab.said == []
