"""Addresses that may be asked, and connections that end when they are told to."""

from pathlib import Path

import pytest

from tests.agent.downloads import DATA, fetcher, ranged, wanted
from tests.agent.misbehaving import Exchange, Misbehaving
from tests.schemas.documents import code_of
from towline.agent.wire import Line, Unreachable, authority, split_https


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://a.example/p", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("//a.example/p", "scheme"),
        ("", "scheme"),
        ("https://me@a.example/p", "userinfo"),
        ("https://me:secret@a.example/p", "userinfo"),
        ("https:///p", "host"),
        ("https://:443/p", "host"),
        ("https://a.example:99999/p", "host"),
        ("https://a.example:x/p", "host"),
        ("https://[::1/p", "host"),
        ("https://ä.example/p", "host"),
        ("https://a.example/ö", "host"),
        ("https://a.example/\x7f", "host"),
        ("https://a.example/a b", "host"),
    ],
)
def test_an_address_that_may_not_be_asked_is_refused(url: str, code: str) -> None:
    assert code_of(lambda: split_https(url)) == code


def test_an_address_has_a_host_and_a_port() -> None:
    assert authority(split_https("https://a.example/p?q=1")) == ("a.example", 443)
    assert authority(split_https("https://a.example:8443/p")) == ("a.example", 8443)


def test_a_line_that_was_cut_before_it_is_connected_shakes_no_hands(rogue: Misbehaving) -> None:
    line = Line("127.0.0.1", rogue.port, rogue.pin)
    line.cut()
    with pytest.raises(TimeoutError):
        line.connect()
    line.close()


def test_before_it_is_connected_it_shows_no_certificate(rogue: Misbehaving) -> None:
    line = Line("127.0.0.1", rogue.port, rogue.pin)
    with pytest.raises(Unreachable, match="not connected"):
        line.certificate()


def test_a_connection_that_breaks_in_the_body_is_resumed(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    def breaks(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA), ETag='"one"')
        exchange.send(DATA[:100_000])
        exchange.garble()

    rogue.behaviours = [breaks, ranged]
    fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    assert len(rogue.requests) == 2
