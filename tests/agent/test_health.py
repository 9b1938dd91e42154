"""Health checks over real ports, and scripts that answer as they like."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from towline.agent import health
from towline.agent.fetch import Stopped
from towline.agent.scripts import Ended
from towline.agent.stop import Stop


class Web:
    """Answers with the next status, the last one again and again."""

    def __init__(self, *statuses: int) -> None:
        self.asked: list[str] = []
        left = list(statuses)

        class Route(BaseHTTPRequestHandler):
            def do_GET(route) -> None:
                self.asked.append(route.path)
                route.send_response(left[0] if len(left) == 1 else left.pop(0))
                route.send_header("Location", "/elsewhere")
                route.end_headers()

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._http = HTTPServer(("127.0.0.1", 0), Route)
        self.port: int = self._http.server_address[1]
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,))
        self._thread.start()

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


@pytest.fixture
def serve() -> Iterator[Callable[..., Web]]:
    running: list[Web] = []

    def start(*statuses: int) -> Web:
        running.append(Web(*statuses))
        return running[-1]

    yield start
    for web in running:
        web.close()


def probe(**what: Any) -> dict[str, Any]:
    times = {"delay": 0, "period": 0.01, "successes": 1, "timeout": 0.3}
    return {"name": "probe", **times} | what


def sleep(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def unused(_script: Path, _left_s: float) -> Ended:
    raise AssertionError("no script is to be run")


def test_a_web_check_wants_its_status_and_follows_no_redirect(
    serve: Callable[..., Web], tmp_path: Path
) -> None:
    web = serve(302)
    what = {"port": web.port, "path": "/up", "status": 200}
    assert "status 302, expected 200" in health.check(tmp_path, [probe(http=what)], unused, sleep)
    assert set(web.asked) == {"/up"}
    assert health.check(tmp_path, [probe(http=what | {"status": 302})], unused, sleep) == ""


def test_good_answers_count_in_a_row_only(serve: Callable[..., Web], tmp_path: Path) -> None:
    web = serve(200, 500, 200, 200, 500)
    what = {"port": web.port, "path": "/", "status": 200}
    check = probe(http=what, successes=2, timeout=10)
    assert health.check(tmp_path, [check], unused, sleep) == ""
    assert len(web.asked) == 4


def test_a_port_is_asked_on_this_device_only(serve: Callable[..., Web], tmp_path: Path) -> None:
    web = serve(200)
    assert health.check(tmp_path, [probe(tcp={"port": web.port})], unused, sleep) == ""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        closed = probe(tcp={"port": bound.getsockname()[1]})
        assert "refused" in health.check(tmp_path, [closed], unused, sleep)
    for odd in (70_000, 10**12):
        assert "not healthy" in health.check(tmp_path, [probe(tcp={"port": odd})], unused, sleep)


def test_the_first_check_that_fails_is_named(tmp_path: Path) -> None:
    def run(script: Path, _left_s: float) -> Ended:
        return Ended(script.name, 0 if script.name == "good.sh" else 7, "")

    for name in ("good.sh", "bad.sh"):
        (tmp_path / name).touch()
    checks = [probe(name=name, script=f"{name}.sh") for name in ("good", "bad")]
    assert health.check(tmp_path, checks[:1], run, sleep) == ""
    assert "health check bad" in health.check(tmp_path, checks, run, sleep)


@pytest.mark.parametrize("name", ["../outside.sh", "/bin/true", "missing.sh", "folder"])
def test_a_script_lies_inside_the_package(tmp_path: Path, name: str) -> None:
    release = tmp_path / "release"
    (release / "folder").mkdir(parents=True)
    (tmp_path / "outside.sh").touch()
    assert "has no" in health.check(release, [probe(script=name)], unused, sleep)


def test_without_a_check_the_packages_own_script_is_asked_once(tmp_path: Path) -> None:
    asked = []

    def run(script: Path, _left_s: float) -> Ended:
        asked.append(script.name)
        return Ended(script.name, 1, "ill")

    assert health.check(tmp_path, [], run, sleep) == ""
    (tmp_path / "health.sh").touch()
    assert "ill" in health.check(tmp_path, [], run, sleep)
    assert asked == ["health.sh"]


def test_the_old_release_answers_by_its_own_script_or_by_what_it_has_of_the_checks(
    tmp_path: Path,
) -> None:
    def ill(script: Path, _left_s: float) -> Ended:
        return Ended(script.name, 1, "")

    checks = [probe(script="only-new.sh")]
    assert health.check_previous(tmp_path, checks, ill, sleep) == ""
    (tmp_path / "only-new.sh").touch()
    assert "only-new.sh" in health.check_previous(tmp_path, checks, ill, sleep)
    (tmp_path / "health.sh").touch()
    assert "health.sh" in health.check_previous(tmp_path, checks, ill, sleep)


@pytest.mark.parametrize("times", [{"delay": 600}, {"period": 600, "timeout": 600}])
def test_the_wish_to_stop_ends_every_wait(tmp_path: Path, times: dict[str, Any]) -> None:
    stop = Stop()

    def ill(script: Path, _left_s: float) -> Ended:
        stop.set()
        return Ended(script.name, 1, "")

    (tmp_path / "ask.sh").touch()
    if "delay" in times:
        stop.set()
    with pytest.raises(Stopped):
        health.check(tmp_path, [probe(script="ask.sh", **times)], ill, stop.wait)
