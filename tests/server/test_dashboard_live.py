"""Live pages: each figure that a page shows is one that its stream brings, and says the same."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from tests.server.conftest import AddRun, Device, Running, add_batch, add_target
from tests.server.test_dashboard_pages import add_devices, add_targets
from tests.server.test_device import device_seq
from tests.server.visiting import Guest, Page
from tests.server.watching import Stream
from towline.reconciler.server import live
from towline.reconciler.server.dashboard.page import WORDS
from towline.schemas.states import GLYPHS

STATIC = Path(live.__file__).parent / "dashboard" / "static"
SCRIPTS_LIMIT = 12 * 1024
KINDS = ("figure", "state", "counts", "some", "class", "derived", "max")
PAGES = (
    ("/deployments/hello", 20, True),
    ("", 10, True),
    ("/fleet", 6, False),
    ("/devices/pi-0001", 6, True),
)
"""How many figures each shows at least, and whether more than them could change."""


class Shown(HTMLParser):
    """What a page shows of which figure: `(kind, path, text)` with the `data-at` around it."""

    VOID = ("meta", "link", "input", "br", "img")

    def __init__(self, page: Page) -> None:
        super().__init__()
        self.open: list[tuple[dict[str, str], list[str]]] = []
        self.found: list[tuple[str, str, str, dict[str, str]]] = []
        self.feed(page.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(({name: value or "" for name, value in attrs}, []))

    def handle_data(self, data: str) -> None:
        for _, texts in self.open:
            texts.append(data)

    def handle_endtag(self, tag: str) -> None:
        attributes, texts = self.open.pop()
        around = [each.get("data-at", "") for each, _ in self.open] + [
            attributes.get("data-at", "")
        ]
        at = next((each for each in reversed(around) if each), "")
        for kind in KINDS:
            if (path := attributes.get(f"data-{kind}")) is not None:
                text = " ".join("".join(texts).split())
                self.found.append((kind, f"{at}/{path}", text, attributes))


def look_up(figures: dict[str, Any], place: str) -> Any:
    """As the script does it; KeyError for what the stream does not bring."""
    at, _, path = place.partition("/")
    found: Any = figures
    if at:
        name, _, key = at.partition(" ")
        found = figures[name]
        by_number = {str(each["number"]): each for each in found} if name == "batches" else found
        found = by_number[key]
    for part in path.split("."):
        found = found.get(part, 0) if path.startswith("runs.") and part != "runs" else found[part]
    return found


def as_text(kind: str, value: Any, attributes: dict[str, str]) -> str:
    """What the script would write."""
    match kind:
        case "figure" if isinstance(value, list):
            return ", ".join(value)
        case "figure":
            return str(value or attributes.get("data-none") or ("" if value is None else value))
        case "state":
            return f"{WORDS[value][0]} {value.replace('_', ' ')}" if value else ""
        case _:
            return " ".join(f"{WORDS[word][0]} {word} {n}" for word, n in sorted(value.items()))


def look_at_figures(page: Page, figures: dict[str, Any]) -> None:
    """Each figure of the page is there, and is the same."""
    for kind, place, text, attributes in Shown(page).found:
        value = look_up(figures, place)
        match kind:
            case "figure" if "value" in attributes:
                most = look_up(figures, f"{place.partition('/')[0]}/{attributes['data-max']}")
                assert (attributes["value"], attributes["max"]) == (str(value), str(most)), place
            case "figure" | "state" | "counts":
                assert text == as_text(kind, value, attributes), place
            case "some":
                assert ("hidden" in attributes) is not bool(value), place
            case "class":
                assert attributes["class"] == value, place
            case "derived":
                assert attributes["data-was"] == (value or ""), place


@pytest.fixture
def guest(server: Running, enrolled: Device, add_run: AddRun) -> Guest:
    """Somebody at a dashboard that has something of everything to show."""
    run = add_run(target_count=31, reason="RollingOut", message="batch 1 of 2")
    add_batch(server, run, 0)
    add_batch(server, run, 1)
    add_targets(server, run, add_devices(server, 30), "installing")
    add_target(server, run, device_seq(server), batch=0, status="failed", reason="InstallFailed")
    return Guest(server).sign_in()


def first_figures(guest: Guest, page: Page) -> dict[str, Any]:
    """What the page's stream brings first."""
    (main,) = [each for each in page.elements if each.tag == "main"]
    with guest.client.stream("GET", main.attributes["data-stream"]) as answer:
        return Stream(answer).next()[2]


def test_a_page_shows_at_first_what_its_stream_brings(guest: Guest) -> None:
    for path, least, has_shape in PAGES:
        page = guest.get(path)
        figures = first_figures(guest, page)
        assert len(Shown(page).found) >= least, path
        look_at_figures(page, figures)
        (main,) = [each for each in page.elements if each.tag == "main"]
        assert main.attributes.get("data-shape") == (figures["shape"] if has_shape else None)


def test_a_page_of_a_run_that_is_over_is_not_live_nor_is_one_without_a_script(
    server: Running, add_run: AddRun
) -> None:
    add_run(status="completed")
    page = Guest(server).sign_in().get("/deployments/hello")
    assert "data-stream" not in page.html
    (sign,) = [each for each in page.elements if "data-live" in each.attributes]
    (stale,) = [each for each in page.elements if "data-stale" in each.attributes]
    assert "hidden" in sign.attributes
    assert "hidden" in stale.attributes
    words = json.loads(sign.attributes["data-words"])
    assert set(words) == {str(word) for word in GLYPHS} | {"online", "offline"}


def test_the_scripts_are_small_and_reach_nothing_else() -> None:
    scripts = [file.read_text(encoding="utf-8") for file in STATIC.glob("*.js")]
    assert sum(len(text.encode()) for text in scripts) <= SCRIPTS_LIMIT
    for text in scripts:
        assert not re.search(r"https?:|innerHTML|outerHTML|insertAdjacent|eval\(|import", text)
    for word in ("● Live", "◌ Reconnecting", "○ Offline", "✓ Finished"):
        assert word in (STATIC / "live.js").read_text(encoding="utf-8")
