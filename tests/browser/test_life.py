"""The life of a rollout clicked through, with a real server and real devices."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Tab, new_tab
from towline.cli.client import TOKEN_FILE
from towline.cli.demo_fleet import DemoFleet
from towline.cli.settings import load

pytestmark = pytest.mark.timeout(300)
"""A busy machine starts a browser slowly."""

INSTALL = "#!/bin/sh\nsleep 1\n"
HEALTHY = "#!/bin/sh\nexit 0\n"
DARK = '#!/bin/sh\n[ "$TOWLINE_DEVICE" = till-2 ] || exit 0\necho "it stays dark"\nexit 3\n'
DIRECT = (
    "apiVersion: towline/v1\nkind: Policy\nmetadata: {name: fleet}\nspec: {apiCommits: direct}\n"
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[DemoFleet]:
    """Three devices that run, and two signed versions of which one fails on till-2."""
    made = DemoFleet(tmp_path, ["till-1", "till-2", "till-3"])
    try:
        made.begin()
        (made.repository / "policy.yaml").write_text(DIRECT, encoding="utf-8")
        for version, health in (("1.0.0", HEALTHY), ("2.0.0", DARK)):
            release(made, version, health)
        made.commit("Let the dashboard commit, and sign two versions")
        made.enrol()
        yield made
    finally:
        made.stop()


def release(shop: DemoFleet, version: str, health: str) -> None:
    folder = shop.folder / f"hello-{version}"
    folder.mkdir()
    for name, text in (("install.sh", INSTALL), ("health.sh", health)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    (shop.repository / "packages").mkdir(exist_ok=True)
    package = str(shop.repository / "packages" / f"hello-{version}.tar.gz")
    shop.towline("package", "build", str(folder), "-o", package)
    options = ("--component", "hello", "--version", version, "--repo", ".")
    shop.towline("release", "sign", package, *options)


@pytest.fixture
def tab(shop: DemoFleet, browser: Browser) -> Iterator[Tab]:
    """An admin at the dashboard."""
    token = (load(shop.repository, environment={}).data / TOKEN_FILE).read_text(encoding="ascii")
    opened = new_tab(browser, shop.client.server).sign_in(token.strip())
    yield opened
    opened.close()


def package_step(tab: Tab, version: str) -> None:
    """Look at the package, whose statement is there, and go on to the review."""
    tab.page.get_by_label("Address").fill(f"hello-{version}.tar.gz")
    tab.press("Look at it: size and checksum")
    tab.has(f"releases/hello/{version}/hello-{version}.tar.gz.json")
    tab.press("Next")


def versions(shop: DemoFleet) -> dict[str, str]:
    found = shop.client.get("/devices")["devices"]
    return {each["id"]: each["components"]["hello"]["current"] for each in found}


def test_from_the_wizard_to_the_rollback(shop: DemoFleet, tab: Tab) -> None:
    page = tab.page
    tab.press("New Deployment")
    page.get_by_label("Name", exact=True).fill("Hello")
    page.get_by_label("Version", exact=True).fill("1.0.0")
    page.get_by_label("Component").fill("hello")
    page.get_by_label("Strategy").select_option("immediate")
    page.get_by_label("Begins").select_option("automatic")
    tab.press("Next")
    tab.has("3 devices match, e.g. till-1, till-2, till-3.")
    tab.press("Next")
    package_step(tab, "1.0.0")
    tab.has("+ hello 1.0.0: new")
    tab.press("Commit")
    tab.has("✓ Finished")
    tab.has("✓ completed")
    page.locator("dd[data-figure='progress.completed']", has_text="3").wait_for()

    tab.press("Edit its manifest")
    page.get_by_label("Version", exact=True).fill("2.0.0")
    page.get_by_label("Begins").select_option("manual")
    tab.press("Next")
    tab.press("Next")
    package_step(tab, "2.0.0")
    tab.has("~ hello 1.0.0 -> 2.0.0: a new revision")
    tab.picture("life-review")
    tab.press("Commit")
    tab.has("WaitingForStart")
    tab.confirm("Start")
    tab.confirm("Pause", "wait a moment")
    tab.has("Held by PausedByUser")
    tab.picture("life-paused")
    tab.confirm("Resume")
    # The figures come by themselves, and the page says that there is more to see.
    page.locator("dd[data-figure='progress.failed']", has_text="1").wait_for()
    tab.has("✓ Finished")
    tab.press("reload it")
    tab.has("health.sh: exit 3")
    tab.has("it stays dark")
    tab.picture("life-failed")
    for device in ("till-1", "till-3"):
        tab.press(f"Roll back {device}")
        tab.has("goes back from 2.0.0 to 1.0.0")
        page.get_by_label("Reason").fill("it is dark elsewhere")
        tab.press("Roll back")
        tab.has(f"{device} goes back from 2.0.0")
    tab.picture("life-rolled-back")
    shop.until(
        lambda: set(versions(shop).values()) == {"1.0.0"}, 30, "the devices to go back to 1.0.0"
    )
    tab.open("/devices/till-2")
    tab.has("2.0.0")
    tab.picture("life-device")
    assert tab.said == []
