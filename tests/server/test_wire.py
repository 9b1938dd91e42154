"""Bodies as they arrive, and addresses as callers write them."""

import asyncio
from typing import Any

import pytest

from towline.reconciler.server import wire
from towline.reconciler.server.wire import Disconnected, NoRoom, TooLarge, packages_url, read_body


def read(*messages: dict[str, Any]) -> bytes:
    left = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(left)

    return asyncio.run(read_body(receive, 4))


def piece(body: bytes, *, is_last: bool) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": not is_last}


def test_a_body_is_read_to_its_end() -> None:
    assert read(piece(b"ab", is_last=False), piece(b"cd", is_last=True)) == b"abcd"


def test_half_a_body_is_none() -> None:
    with pytest.raises(Disconnected):
        read(piece(b"ab", is_last=False), {"type": "http.disconnect"})


def test_a_body_over_its_limit_is_read_no_further() -> None:
    with pytest.raises(TooLarge):
        read(piece(b"ab", is_last=False), piece(b"cde", is_last=False))


def test_all_that_arrives_at_once_has_a_limit_and_what_arrived_counts_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wire, "ARRIVING_LIMIT", 3)
    for _ in range(2):
        with pytest.raises(NoRoom):
            read(piece(b"ab", is_last=False), piece(b"cd", is_last=True))
        assert read(piece(b"abc", is_last=True)) == b"abc"


@pytest.mark.parametrize("host", ["a", "a.example:8443", "10.0.0.1", "[::1]", "[::1]:443"])
def test_a_host_is_that_of_packages(host: str) -> None:
    assert packages_url(host.encode()) == f"https://{host}/packages/"


@pytest.mark.parametrize(
    "host", ["", "a/x", "a x", "a@b", 'a"', "a:1/x", "a:123456", "[::1", "a\n", "\xe4", "a" * 254]
)
def test_a_host_that_is_none_is_of_no_packages(host: str) -> None:
    assert packages_url(host.encode("latin-1")) is None
