"""Downloads from a TLS server that misbehaves in every way that costs others dearly."""

import gzip
import socket
from pathlib import Path

import pytest

from tests.agent.downloads import (
    DATA,
    SHA256,
    fails,
    fetcher,
    wanted,
    whole,
)
from tests.agent.misbehaving import Exchange, Misbehaving
from towline.agent.fetch import FetchLimits
from towline.agent.transfer import FetchFailed


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10"])
def test_a_length_that_is_no_number_is_no_file(
    rogue: Misbehaving, tmp_path: Path, length: str
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head("200 OK", Content_Length=length)]
    assert fails(rogue, tmp_path).reason == "ChecksumMismatch"


def test_an_endless_body_is_stopped_right_behind_the_signed_size(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    sent = 0

    def endless(exchange: Exchange) -> None:
        nonlocal sent
        exchange.head("200 OK")
        while True:
            exchange.send(DATA)
            sent += len(DATA)

    rogue.behaviours = [endless]
    failure = fails(rogue, tmp_path)
    assert failure.reason == "ChecksumMismatch"
    assert sent < 64 * len(DATA)


def test_a_content_coding_is_refused_even_if_it_would_unpack_to_the_file(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    def packed(exchange: Exchange) -> None:
        data = gzip.compress(DATA)
        exchange.head("200 OK", Content_Length=len(data), Content_Encoding="gzip")
        exchange.send(data)

    rogue.behaviours = [packed]
    assert "content-coding" in str(fails(rogue, tmp_path))


def test_a_range_that_was_not_asked_for_is_refused(rogue: Misbehaving, tmp_path: Path) -> None:
    def shifted(exchange: Exchange) -> None:
        exchange.head("206 Partial Content", Content_Range=f"bytes 5-9/{len(DATA)}")

    rogue.behaviours = [shifted]
    assert "content-range" in str(fails(rogue, tmp_path))


def test_a_body_that_drips_is_cut_by_its_speed(rogue: Misbehaving, tmp_path: Path) -> None:
    def drips(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA))
        exchange.drip(DATA, 0.05)

    rogue.behaviours = [drips]
    limits = FetchLimits(
        deadline_s=20, floor_bytes_per_s=1000, floor_window_s=0.3, tries=1, backoff_s=0
    )
    assert "too-slow" in str(fails(rogue, tmp_path, limits))


def test_headers_that_drip_are_cut_by_the_deadline(rogue: Misbehaving, tmp_path: Path) -> None:
    rogue.behaviours = [lambda exchange: exchange.drip(b"HTTP/1.1 200 OK\r\nX: " * 99, 0.05)]
    limits = FetchLimits(deadline_s=0.5, floor_bytes_per_s=0, tries=1)
    assert "deadline" in str(fails(rogue, tmp_path, limits))


def test_a_server_that_never_shakes_hands_is_cut_by_the_deadline(tmp_path: Path) -> None:
    silent = Misbehaving.__new__(Misbehaving)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        silent.port, silent.pin = listener.getsockname()[1], "sha256:"
        silent.url = f"https://127.0.0.1:{silent.port}/"
        limits = FetchLimits(deadline_s=0.3, floor_bytes_per_s=0, tries=1)
        assert "deadline" in str(fails(silent, tmp_path, limits))


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("http://127.0.0.1/p", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("https://user:secret@127.0.0.1/p", "userinfo"),
        ("https://127.0.0.1:99999/p", "host"),
        ("https://127.0.0.1/a b", "host"),
        ("https://169.254.169.254/latest/meta-data", "host"),
        ("https://127.0.0.1:1/p", "host"),
        ("https://2130706433/p", "host"),
        ("https://0x7f.1/p", "host"),
        ("https://127.1/p", "host"),
        ("https://[::ffff:127.0.0.1]/p", "host"),
    ],
)
def test_a_redirect_to_anything_but_https_is_refused(
    rogue: Misbehaving, tmp_path: Path, location: str, code: str
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head("302 Found", Location=location)]
    assert code in str(fails(rogue, tmp_path))


def test_redirects_are_followed_three_times_and_no_further(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    def elsewhere(exchange: Exchange) -> None:
        exchange.head("302 Found", Location="/elsewhere")

    rogue.behaviours = [elsewhere, elsewhere, elsewhere, whole]
    fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    rogue.requests.clear()
    rogue.behaviours = [elsewhere]
    (tmp_path / "downloads" / f"{SHA256}.tar.gz").unlink()
    assert "redirects" in str(fails(rogue, tmp_path))
    assert len(rogue.requests) == 4


def test_a_certificate_other_than_the_pinned_one_gets_no_request(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.pin = f"sha256:{'0' * 64}"
    assert "server-certificate" in str(fails(rogue, tmp_path))
    assert rogue.requests == []


def test_other_hosts_need_a_certificate_that_the_system_trusts(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    url = f"https://localhost:{rogue.port}/p.tar.gz"
    with pytest.raises(FetchFailed, match="certificate") as failed:
        fetcher(rogue, tmp_path, names=("localhost",)).fetch(wanted(url))
    assert failed.value.reason == "DownloadFailed"
    assert rogue.requests == []


def test_a_name_that_leads_to_the_device_itself_is_sent_nothing(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    url = f"https://localhost:{rogue.port}/p.tar.gz"
    with pytest.raises(FetchFailed, match="localhost leads to"):
        fetcher(rogue, tmp_path).fetch(wanted(url))
    assert rogue.requests == []


def test_where_hosts_are_listed_no_others_are_asked(rogue: Misbehaving, tmp_path: Path) -> None:
    listed = fetcher(rogue, tmp_path, names=("files.example.com",))
    for host in ("cdn.example.com", "files.example.com.evil.example", "localhost"):
        with pytest.raises(FetchFailed, match=f"host: {host} is not listed"):
            listed.fetch(wanted(f"https://{host}:{rogue.port}/p.tar.gz"))
    rogue.behaviours = [whole]
    listed.fetch(wanted(rogue.url))
