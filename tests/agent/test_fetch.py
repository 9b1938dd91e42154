"""Downloads from a real TLS server that misbehaves in every way that costs others dearly."""

import gzip
import hashlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.misbehaving import Exchange, Misbehaving
from towline.agent.fetch import MARGIN_BYTES, Fetcher, FetchLimits, Stopped
from towline.agent.transfer import FetchFailed, Wanted

DATA = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Misbehaving]:
    running = Misbehaving(tmp_path)
    yield running
    running.close()


LIMITS = FetchLimits(deadline_s=20, tries=3, backoff_s=0.001)


def fetcher(
    server: Misbehaving, folder: Path, limits: FetchLimits = LIMITS, free: int = 2**40
) -> Fetcher:
    downloads = folder / "downloads"
    downloads.mkdir(exist_ok=True)
    pins = {("127.0.0.1", server.port): server.pin}
    return Fetcher(downloads, pins, limits, free_bytes=lambda _: free)


def wanted(*urls: str, sha256: str = SHA256) -> Wanted:
    return Wanted(urls, len(DATA), sha256)


def whole(exchange: Exchange) -> None:
    exchange.head("200 OK", Content_Length=len(DATA), ETag='"one"')
    exchange.send(DATA)


def ranged(exchange: Exchange) -> None:
    start = int(exchange.headers["Range"].removeprefix("bytes=").removesuffix("-"))
    size = len(DATA)
    exchange.head(
        "206 Partial Content",
        Content_Length=size - start,
        Content_Range=f"bytes {start}-{size - 1}/{size}",
    )
    exchange.send(DATA[start:])


def half(exchange: Exchange) -> None:
    exchange.head("200 OK", Content_Length=len(DATA), ETag='"one"')
    exchange.send(DATA[:100_000])


def fails(server: Misbehaving, folder: Path, limits: FetchLimits = LIMITS) -> FetchFailed:
    with pytest.raises(FetchFailed) as failed:
        fetcher(server, folder, limits).fetch(wanted(server.url))
    assert not list((folder / "downloads").glob("*.tar.gz"))
    return failed.value


def test_a_whole_file_is_verified_and_put_in_its_place(server: Misbehaving, tmp_path: Path) -> None:
    server.behaviours = [whole]
    found = fetcher(server, tmp_path).fetch(wanted(server.url))
    assert found.read_bytes() == DATA
    assert [path.name for path in found.parent.iterdir()] == [f"{SHA256}.tar.gz"]
    assert server.requests[0].headers["Accept-Encoding"] == "identity"
    fetcher(server, tmp_path).fetch(wanted(server.url))
    assert len(server.requests) == 1


def test_a_break_is_resumed_where_it_was(server: Misbehaving, tmp_path: Path) -> None:
    server.behaviours = [half, ranged]
    assert fetcher(server, tmp_path).fetch(wanted(server.url)).read_bytes() == DATA
    asked = server.requests[1].headers
    assert asked["If-Range"] == '"one"'
    assert int(asked["Range"].removeprefix("bytes=").removesuffix("-")) > 0


def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [half, whole]
    assert fetcher(server, tmp_path).fetch(wanted(server.url)).read_bytes() == DATA


def test_a_resumed_file_is_hashed_from_byte_0_and_taken_anew_when_it_is_wrong(
    server: Misbehaving, tmp_path: Path
) -> None:
    def wrong_half(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA), ETag='"one"')
        exchange.send(b"x" * 100_000)

    server.behaviours = [wrong_half, ranged, whole]
    assert fetcher(server, tmp_path).fetch(wanted(server.url)).read_bytes() == DATA
    assert "Range" not in server.requests[2].headers


def test_a_weak_tag_is_never_used_to_resume(server: Misbehaving, tmp_path: Path) -> None:
    def weak_half(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA), ETag='W/"one"')
        exchange.send(DATA[:1000])

    server.behaviours = [weak_half, whole]
    fetcher(server, tmp_path).fetch(wanted(server.url))
    assert "Range" not in server.requests[1].headers


def test_a_piece_that_was_whole_before_a_crash_is_not_asked_for_again(
    server: Misbehaving, tmp_path: Path
) -> None:
    ready = fetcher(server, tmp_path)
    (tmp_path / "downloads" / f"{SHA256}.part").write_bytes(DATA)
    assert ready.fetch(wanted(server.url)).read_bytes() == DATA
    assert server.requests == []


def test_another_checksum_is_a_mismatch_and_leaves_nothing(
    server: Misbehaving, tmp_path: Path
) -> None:
    def flipped(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA))
        exchange.send(DATA[:-1] + b"\x00")

    server.behaviours = [flipped]
    assert fails(server, tmp_path).reason == "ChecksumMismatch"
    assert list((tmp_path / "downloads").iterdir()) == []
    assert len(server.requests) == 1


def test_another_length_is_a_mismatch_before_a_byte_is_taken(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [lambda exchange: exchange.head("200 OK", Content_Length=len(DATA) + 1)]
    assert fails(server, tmp_path).reason == "ChecksumMismatch"


@pytest.mark.parametrize("length", ["-1", "1e3", "0x10"])
def test_a_length_that_is_no_number_is_no_file(
    server: Misbehaving, tmp_path: Path, length: str
) -> None:
    server.behaviours = [lambda exchange: exchange.head("200 OK", Content_Length=length)]
    assert fails(server, tmp_path).reason == "ChecksumMismatch"


def test_an_endless_body_is_stopped_right_behind_the_signed_size(
    server: Misbehaving, tmp_path: Path
) -> None:
    sent = 0

    def endless(exchange: Exchange) -> None:
        nonlocal sent
        exchange.head("200 OK")
        while True:
            exchange.send(DATA)
            sent += len(DATA)

    server.behaviours = [endless]
    failure = fails(server, tmp_path)
    assert failure.reason == "ChecksumMismatch"
    assert sent < 64 * len(DATA)


def test_a_short_body_is_tried_again_and_then_fails(server: Misbehaving, tmp_path: Path) -> None:
    def short(exchange: Exchange) -> None:
        exchange.head("200 OK")
        exchange.send(DATA[:10])

    server.behaviours = [short]
    failure = fails(server, tmp_path)
    assert (failure.reason, len(server.requests)) == ("DownloadFailed", 3)
    assert "10 of" in str(failure)


def test_a_content_coding_is_refused_even_if_it_would_unpack_to_the_file(
    server: Misbehaving, tmp_path: Path
) -> None:
    def packed(exchange: Exchange) -> None:
        data = gzip.compress(DATA)
        exchange.head("200 OK", Content_Length=len(data), Content_Encoding="gzip")
        exchange.send(data)

    server.behaviours = [packed]
    assert "content-coding" in str(fails(server, tmp_path))


def test_a_range_that_was_not_asked_for_is_refused(server: Misbehaving, tmp_path: Path) -> None:
    def shifted(exchange: Exchange) -> None:
        exchange.head("206 Partial Content", Content_Range=f"bytes 5-9/{len(DATA)}")

    server.behaviours = [shifted]
    assert "content-range" in str(fails(server, tmp_path))


def test_a_body_that_drips_is_cut_by_its_speed(server: Misbehaving, tmp_path: Path) -> None:
    def drips(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA))
        exchange.drip(DATA, 0.05)

    server.behaviours = [drips]
    limits = FetchLimits(
        deadline_s=20, floor_bytes_per_s=1000, floor_window_s=0.3, tries=1, backoff_s=0
    )
    assert "too-slow" in str(fails(server, tmp_path, limits))


def test_headers_that_drip_are_cut_by_the_deadline(server: Misbehaving, tmp_path: Path) -> None:
    server.behaviours = [lambda exchange: exchange.drip(b"HTTP/1.1 200 OK\r\nX: " * 99, 0.05)]
    limits = FetchLimits(deadline_s=0.5, floor_bytes_per_s=0, tries=1)
    assert "deadline" in str(fails(server, tmp_path, limits))


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
    ],
)
def test_a_redirect_to_anything_but_https_is_refused(
    server: Misbehaving, tmp_path: Path, location: str, code: str
) -> None:
    server.behaviours = [lambda exchange: exchange.head("302 Found", Location=location)]
    assert code in str(fails(server, tmp_path))


def test_redirects_are_followed_three_times_and_no_further(
    server: Misbehaving, tmp_path: Path
) -> None:
    def elsewhere(exchange: Exchange) -> None:
        exchange.head("302 Found", Location="/elsewhere")

    server.behaviours = [elsewhere, elsewhere, elsewhere, whole]
    fetcher(server, tmp_path).fetch(wanted(server.url))
    server.requests.clear()
    server.behaviours = [elsewhere]
    (tmp_path / "downloads" / f"{SHA256}.tar.gz").unlink()
    assert "redirects" in str(fails(server, tmp_path))
    assert len(server.requests) == 4


def test_a_certificate_other_than_the_pinned_one_gets_no_request(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.pin = f"sha256:{'0' * 64}"
    assert "server-certificate" in str(fails(server, tmp_path))
    assert server.requests == []


def test_other_hosts_need_a_certificate_that_the_system_trusts(
    server: Misbehaving, tmp_path: Path
) -> None:
    url = f"https://localhost:{server.port}/p.tar.gz"
    with pytest.raises(FetchFailed, match="certificate") as failed:
        fetcher(server, tmp_path).fetch(wanted(url))
    assert failed.value.reason == "DownloadFailed"
    assert server.requests == []


def test_the_next_address_is_tried_and_a_mismatch_is_what_counts(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [lambda exchange: exchange.head("404 Not Found"), whole]
    found = fetcher(server, tmp_path).fetch(wanted(server.url, server.url))
    assert found.read_bytes() == DATA


def test_a_file_that_is_not_there_is_asked_for_only_once(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [lambda exchange: exchange.head("404 Not Found")]
    assert fails(server, tmp_path).reason == "DownloadFailed"
    assert len(server.requests) == 1


def test_a_server_that_fails_for_a_while_is_asked_again(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [lambda exchange: exchange.head("503 Busy"), whole]
    fetcher(server, tmp_path).fetch(wanted(server.url))


def test_without_room_nothing_is_asked_for(server: Misbehaving, tmp_path: Path) -> None:
    short = Wanted((server.url,), len(DATA), SHA256, room=1000)
    needed = len(DATA) + 1000 + MARGIN_BYTES
    with pytest.raises(FetchFailed) as failed:
        fetcher(server, tmp_path, free=needed - 1).fetch(short)
    assert failed.value.reason == "NoSpace"
    assert server.requests == []
    server.behaviours = [whole]
    fetcher(server, tmp_path, free=needed).fetch(short)


def test_a_disk_that_fills_up_meanwhile_is_no_space(server: Misbehaving, tmp_path: Path) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    server.behaviours = [whole]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert fails(server, tmp_path).reason == "NoSpace"


def test_a_wish_to_stop_leaves_the_piece_for_the_next_start(
    server: Misbehaving, tmp_path: Path
) -> None:
    server.behaviours = [half]
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    stopping = Fetcher(
        downloads,
        {("127.0.0.1", server.port): server.pin},
        LIMITS,
        pause=lambda _: bool(server.requests),
    )
    with pytest.raises(Stopped):
        stopping.fetch(wanted(server.url))
    assert (downloads / f"{SHA256}.part").stat().st_size > 0
