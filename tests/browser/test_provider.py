"""Signing in by a provider of another site, with all that a real browser makes of cookies."""

import socket
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import new_tab
from tests.server import provider
from tests.server.test_oidc import FILE
from tests.server.test_serve import serving, settings
from tests.server.visiting import PAGE
from towline.reconciler.server.serve import ServeSettings

__all__ = ["settings"]

pytestmark = pytest.mark.timeout(300)
"""A busy machine starts a browser slowly."""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


def test_who_comes_back_from_the_provider_is_in_and_reaches_the_wanted_page(
    browser: Browser, settings: ServeSettings, tmp_path: Path
) -> None:
    port = free_port()
    own = f"https://127.0.0.1:{port}"
    (tmp_path / "secret").write_text("s3cret")
    with provider.running() as told:
        told.issuer = told.issuer.replace("127.0.0.1", "localhost")
        told.claims["groups"] = ["on-call"]
        told.asks_first = True
        file = tmp_path / "oidc.toml"
        text = FILE.format(issuer=told.issuer)
        file.write_text(text.replace("https://127.0.0.1:8443", own))
        with serving(replace(settings, oidc=file, port=port)):
            tab = new_tab(browser, own)
            page = tab.open("/fleet")
            page.get_by_role("link", name="Sign in by localhost").click()
            page.get_by_role("link", name="Yes").click()
            page.wait_for_url(f"{own}{PAGE}/fleet")
            tab.has("ada@acme.example (operator)")
            tab.close()
