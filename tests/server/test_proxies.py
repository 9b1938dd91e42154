"""Who calls, behind a proxy: only the proxies that are configured are believed."""

from dataclasses import replace

import pytest

from tests.server.test_serve import client_of, serving, settings
from towline.reconciler.server.serve import ServeSettings
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.keys import PrivateKey

__all__ = ["settings"]


@pytest.mark.parametrize(
    ("trusted", "source"),
    [
        ((), "127.0.0.1"),
        (("10.0.0.5",), "127.0.0.1"),
        (("127.0.0.1",), "203.0.113.7"),
        (("10.0.0.5", "127.0.0.0/8"), "203.0.113.7"),
    ],
)
def test_who_calls_is_told_by_trusted_proxies_only(
    settings: ServeSettings, trusted: tuple[str, ...], source: str
) -> None:
    behind = replace(settings, trusted_proxies=trusted)
    key = PrivateKey.generate()
    asked = EnrolmentRequest(
        organization="acme",
        device="pi-1",
        public_key=key.public,
        device_type="raspberry_pi",
        agent="0.1.0",
    )
    with serving(behind) as lines, client_of(behind, lines) as client:
        # What is left of the last address that a trusted proxy saw is the caller's own word.
        headers = {"X-Forwarded-For": "198.51.100.1, 203.0.113.7"}
        sent = asked.sign(key).to_bytes()
        assert client.post("/api/v1/ota/enroll", content=sent, headers=headers).status_code == 202
        token = (settings.data / "admin.token").read_text().strip()
        answer = client.get(
            "/api/v1/admin/ota/enrolments", headers={"Authorization": f"Bearer {token}"}
        )
        assert [each["source"] for each in answer.json()["enrolments"]] == [source]
