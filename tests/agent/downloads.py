"""What the tests of downloads share: the file, a fetcher for it, and honest answers."""

import hashlib
from pathlib import Path

import pytest

from tests.agent.misbehaving import Exchange, Misbehaving
from towline.agent.fetch import Fetcher, FetchLimits
from towline.agent.transfer import FetchFailed, Wanted
from towline.schemas.hosts import Hosts

DATA = bytes(range(256)) * 1024
SHA256 = hashlib.sha256(DATA).hexdigest()


LIMITS = FetchLimits(deadline_s=20, tries=3, backoff_s=0.001)


def fetcher(
    server: Misbehaving,
    folder: Path,
    limits: FetchLimits = LIMITS,
    free: int = 2**40,
    names: tuple[str, ...] = (),
) -> Fetcher:
    downloads = folder / "downloads"
    downloads.mkdir(exist_ok=True)
    pins = {("127.0.0.1", server.port): server.pin}
    hosts = Hosts(("127.0.0.1", server.port), names)
    return Fetcher(downloads, pins, limits, hosts=hosts, free_bytes=lambda _: free)


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
