"""A real Chromium, headless, that looks at a real server; what it saw is kept as pictures."""

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.server.visiting import PAGE

PICTURES = Path(__file__).parents[2] / "build" / "screenshots"
"""Kept for who wants to look at them; git ignores the folder."""
OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)
PATIENCE_MS = 20_000
FOCUSED_FIRST = "Autofocus processing was blocked because a document already has a focused element"
"""What the browser notes where a test types into a field before the page was drawn the first time
and would have been given the focus: it says who was quicker, not that something is wrong."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for a module; without one its tests are skipped, unless they must run."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        words = "there is no Chromium: apt-get install chromium"
        assert os.environ.get("TOWLINE_BROWSER") != "required", words
        pytest.skip(words)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield started
        started.close()


@dataclass
class Tab:
    """One tab of a person with a browser of their own."""

    page: Page
    url: str
    said: list[str] = field(default_factory=list)
    """What the console was told; nothing should be."""

    def open(self, path: str = "") -> Page:
        """Go to a page of the dashboard."""
        self.page.goto(f"{self.url}{PAGE}{path}")
        return self.page

    def sign_in(self, token: str) -> "Tab":
        """With an admin token."""
        self.open("/sign-in")
        self.page.get_by_label("Admin token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.get_by_role("heading", name="Deployments", level=1).wait_for()
        return self

    def has(self, words: str) -> None:
        """Wait until the page shows these words."""
        self.page.get_by_text(words).first.wait_for(timeout=PATIENCE_MS)

    def has_soon(self, words: str) -> None:
        """The same of a page that does not change by itself: it is loaded again and again."""
        until = time.monotonic() + PATIENCE_MS / 1000
        while not self.page.get_by_text(words).count():
            assert time.monotonic() < until, f"{words} is nowhere on {self.page.url}"
            self.page.wait_for_timeout(200)
            self.page.reload()

    def press(self, name: str) -> None:
        """A button, or a link that looks like one."""
        found = self.page.get_by_role("button", name=name, exact=True)
        found.or_(self.page.get_by_role("link", name=name, exact=True)).first.click()

    def confirm(self, verb: str, reason: str = "because") -> None:
        """Open an act's page, say why, and do it."""
        self.press(f"{verb}…")
        self.page.get_by_label("Reason").fill(reason)
        self.press(verb)
        self.has("was done")

    def faults(self) -> str:
        """What axe finds wrong with the page."""
        if not self.page.evaluate("'axe' in window"):
            self.page.evaluate(AXE_SCRIPT)
        found = AxeResults(self.page.evaluate("axe.run({resultTypes: ['violations']})"))
        return "" if found.violations_count == 0 else str(found.generate_report())

    def overflow(self) -> int:
        """By how many pixels the page is wider than its window."""
        wider: int = self.page.evaluate(
            "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return wider

    def picture(self, name: str) -> None:
        """Keep what it looks like."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def close(self) -> None:
        """Close it."""
        self.page.context.close()


def new_tab(
    browser: Browser,
    url: str,
    *,
    has_script: bool = True,
) -> Tab:
    """A tab in a browser without a past."""
    context = browser.new_context(
        ignore_https_errors=True,
        java_script_enabled=has_script,
        viewport={"width": 1280, "height": 900},
    )
    context.set_default_timeout(PATIENCE_MS)
    tab = Tab(context.new_page(), url)

    def heard(message: ConsoleMessage) -> None:
        if not message.text.startswith(FOCUSED_FIRST):
            tab.said.append(f"{message.type}: {message.text}")

    tab.page.on("console", heard)
    tab.page.on("pageerror", lambda error: tab.said.append(f"error: {error}"))
    return tab
