"""Downloads from a real TLS server: resumed, verified, bounded by the disk."""

from pathlib import Path

import pytest

from tests.agent.downloads import (
    DATA,
    LIMITS,
    SHA256,
    fails,
    fetcher,
    half,
    ranged,
    wanted,
    whole,
)
from tests.agent.misbehaving import Exchange, Misbehaving
from towline.agent.fetch import MARGIN_BYTES, Fetcher, FetchLimits, Stopped
from towline.agent.transfer import FetchFailed, Wanted
from towline.schemas.hosts import Hosts


def test_a_whole_file_is_verified_and_put_in_its_place(rogue: Misbehaving, tmp_path: Path) -> None:
    rogue.behaviours = [whole]
    found = fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    assert found.read_bytes() == DATA
    assert [path.name for path in found.parent.iterdir()] == [f"{SHA256}.tar.gz"]
    assert rogue.requests[0].headers["Accept-Encoding"] == "identity"
    fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    assert len(rogue.requests) == 1


def test_a_break_is_resumed_where_it_was(rogue: Misbehaving, tmp_path: Path) -> None:
    rogue.behaviours = [half, ranged]
    assert fetcher(rogue, tmp_path).fetch(wanted(rogue.url)).read_bytes() == DATA
    asked = rogue.requests[1].headers
    assert asked["If-Range"] == '"one"'
    assert int(asked["Range"].removeprefix("bytes=").removesuffix("-")) > 0


def test_a_file_that_changed_meanwhile_is_taken_from_its_beginning(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.behaviours = [half, whole]
    assert fetcher(rogue, tmp_path).fetch(wanted(rogue.url)).read_bytes() == DATA


def test_a_resumed_file_is_hashed_from_byte_0_and_taken_anew_when_it_is_wrong(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    def wrong_half(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA), ETag='"one"')
        exchange.send(b"x" * 100_000)

    rogue.behaviours = [wrong_half, ranged, whole]
    assert fetcher(rogue, tmp_path).fetch(wanted(rogue.url)).read_bytes() == DATA
    assert "Range" not in rogue.requests[2].headers


def test_a_weak_tag_is_never_used_to_resume(rogue: Misbehaving, tmp_path: Path) -> None:
    def weak_half(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA), ETag='W/"one"')
        exchange.send(DATA[:1000])

    rogue.behaviours = [weak_half, whole]
    fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    assert "Range" not in rogue.requests[1].headers


def test_a_piece_that_was_whole_before_a_crash_is_not_asked_for_again(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    ready = fetcher(rogue, tmp_path)
    (tmp_path / "downloads" / f"{SHA256}.part").write_bytes(DATA)
    assert ready.fetch(wanted(rogue.url)).read_bytes() == DATA
    assert rogue.requests == []


def test_another_checksum_is_a_mismatch_and_leaves_nothing(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    def flipped(exchange: Exchange) -> None:
        exchange.head("200 OK", Content_Length=len(DATA))
        exchange.send(DATA[:-1] + b"\x00")

    rogue.behaviours = [flipped]
    assert fails(rogue, tmp_path).reason == "ChecksumMismatch"
    assert list((tmp_path / "downloads").iterdir()) == []
    assert len(rogue.requests) == 1


def test_another_length_is_a_mismatch_before_a_byte_is_taken(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head("200 OK", Content_Length=len(DATA) + 1)]
    assert fails(rogue, tmp_path).reason == "ChecksumMismatch"


def test_a_short_body_is_tried_again_and_then_fails(rogue: Misbehaving, tmp_path: Path) -> None:
    def short(exchange: Exchange) -> None:
        exchange.head("200 OK")
        exchange.send(DATA[:10])

    rogue.behaviours = [short]
    failure = fails(rogue, tmp_path)
    assert (failure.reason, len(rogue.requests)) == ("DownloadFailed", 3)
    assert "10 of" in str(failure)


def test_the_next_address_is_tried_and_a_mismatch_is_what_counts(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head("404 Not Found"), whole]
    found = fetcher(rogue, tmp_path).fetch(wanted(rogue.url, rogue.url))
    assert found.read_bytes() == DATA


def test_a_file_that_is_not_there_is_asked_for_only_once(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head("404 Not Found")]
    assert fails(rogue, tmp_path).reason == "DownloadFailed"
    assert len(rogue.requests) == 1


@pytest.mark.parametrize("status", [408, 416, 425, 429, 500, 503])
def test_what_may_be_otherwise_later_is_asked_again(
    rogue: Misbehaving, tmp_path: Path, status: int
) -> None:
    rogue.behaviours = [lambda exchange: exchange.head(f"{status} Later"), whole]
    fetcher(rogue, tmp_path).fetch(wanted(rogue.url))
    assert len(rogue.requests) == 2


def test_when_no_time_is_left_nothing_more_is_asked(rogue: Misbehaving, tmp_path: Path) -> None:
    rogue.behaviours = [lambda exchange: exchange.drip(b"HTTP/1.1 200 OK\r\nX: " * 99, 0.05)]
    limits = FetchLimits(deadline_s=0.3, floor_bytes_per_s=0, tries=5, backoff_s=0)
    with pytest.raises(FetchFailed, match="no time is left"):
        fetcher(rogue, tmp_path, limits).fetch(wanted(rogue.url))
    assert len(rogue.requests) == 1


def test_without_room_nothing_is_asked_for(rogue: Misbehaving, tmp_path: Path) -> None:
    short = Wanted((rogue.url,), len(DATA), SHA256, room=1000)
    needed = len(DATA) + 1000 + MARGIN_BYTES
    with pytest.raises(FetchFailed) as failed:
        fetcher(rogue, tmp_path, free=needed - 1).fetch(short)
    assert failed.value.reason == "NoSpace"
    assert rogue.requests == []
    rogue.behaviours = [whole]
    fetcher(rogue, tmp_path, free=needed).fetch(short)


def test_a_disk_that_fills_up_meanwhile_is_no_space(rogue: Misbehaving, tmp_path: Path) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    rogue.behaviours = [whole]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", full)
        assert fails(rogue, tmp_path).reason == "NoSpace"


def test_a_wish_to_stop_leaves_the_piece_for_the_next_start(
    rogue: Misbehaving, tmp_path: Path
) -> None:
    rogue.behaviours = [half]
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    stopping = Fetcher(
        downloads,
        {("127.0.0.1", rogue.port): rogue.pin},
        LIMITS,
        hosts=Hosts(("127.0.0.1", rogue.port)),
        pause=lambda _: bool(rogue.requests),
    )
    with pytest.raises(Stopped):
        stopping.fetch(wanted(rogue.url))
    assert (downloads / f"{SHA256}.part").stat().st_size > 0
