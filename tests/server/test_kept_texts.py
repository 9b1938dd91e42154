"""Texts that cannot be kept are refused before anything is done; what looks like one is not."""

import httpx
import pytest

from tests.server.conftest import AddRun, Running
from towline.reconciler.store import reading_events

API = "/api/v1/admin/ota"
PAUSE = f"{API}/deployments/hello/pause"
PAGE = "/admin/edge/ota"
HALF, NUL = r"\ud83d", r"\u0000"


def _send(
    server: Running, method: str, path: str, body: str, kind: str = "application/json"
) -> httpx.Response:
    headers = server.admin("admin") | {"Content-Type": kind, "If-Match": "*"}
    return server.client.request(method, path, content=body, headers=headers)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"{API}/devices?label=a%00=b", ""),
        ("GET", f"{API}/devices?contains=%00", ""),
        ("GET", f"{API}/devices/%00", ""),
        ("GET", f"{PAGE}/fleet?q=%00", ""),
        ("POST", PAUSE, f'{{"reason": "{NUL}"}}'),
        ("POST", PAUSE, f'{{"reason": "\\\\\\\\{NUL}"}}'),
        ("POST", PAUSE, f'{{"reason": "{HALF}"}}'),
        ("POST", PAUSE, r'{"reason": "\ude00"}'),
        ("POST", PAUSE, r'{"reason": "\ude00\ud83d"}'),
        ("PUT", f"{API}/devices/till-1/labels", f'{{"labels": {{"{HALF}": "x"}}}}'),
        ("POST", f"{API}/deployments", f'{{"release": {{"x": "{HALF}"}}}}'),
    ],
)
def test_a_text_that_cannot_be_kept_is_a_wrong_field(
    server: Running, add_run: AddRun, method: str, path: str, body: str
) -> None:
    add_run()
    answer = _send(server, method, path, body)
    assert (answer.status_code, answer.json()["code"]) == (422, "bad-field")
    assert "a NUL or half of a surrogate pair" in answer.json()["detail"]
    run = server.client.get(f"{API}/deployments/hello", headers=server.admin("viewer")).json()
    assert run["status"] == "in_progress"


def test_a_form_with_a_nul_is_refused(server: Running) -> None:
    kind = "application/x-www-form-urlencoded"
    answer = _send(server, "POST", f"{PAGE}/sign-in", "token=a%00", kind)
    assert answer.status_code == 422


def test_pairs_and_escaped_backslashes_are_texts(server: Running, add_run: AddRun) -> None:
    add_run()
    answer = _send(server, "POST", PAUSE, r'{"reason": "\ud83d\ude00 \\u0000 \\ud83d"}')
    assert answer.json()["message"].endswith(": \N{GRINNING FACE} \\u0000 \\ud83d")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", PAUSE, '{"pause_s": "5"}'),
        ("POST", f"{API}/deployments/hello/resume", '{"accept": "yes"}'),
        ("POST", f"{API}/deployments/hello/approve", '{"through_windows": 1}'),
        ("POST", f"{API}/join-tokens", '{"max_uses": "3"}'),
        ("POST", f"{API}/tokens", '{"name": "A", "role": "viewer", "expires_in_s": "60"}'),
        ("PUT", f"{API}/old-devices", '{"allowed": "yes", "reason": "x"}'),
    ],
)
def test_a_wrong_type_is_not_taken_for_a_right_one(
    server: Running, add_run: AddRun, method: str, path: str, body: str
) -> None:
    add_run()
    assert _send(server, method, path, body).status_code == 422


def test_what_fails_inside_is_a_problem_that_names_the_request(
    server: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a secret of the inside")

    monkeypatch.setattr(reading_events, "events", fail)
    headers = server.admin("viewer") | {"X-Request-Id": "5f1c2d3e4b5a6978"}
    answer = server.client.get(f"{API}/events", headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "5f1c2d3e4b5a6978" in answer.json()["detail"]
    assert "secret" not in answer.text
    assert answer.headers["content-type"] == "application/problem+json"
