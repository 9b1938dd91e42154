"""The unpacker against honest and hostile archives: nothing ever lands outside its folder."""

import gzip
import hashlib
import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.agent.archives import folder, member, write_archive, write_raw
from towline.agent.tar_stream import stream_limit
from towline.agent.unpack import measure, unpack
from towline.schemas.problems import Refused

FORMATS = (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT)
PLENTY = {"unpacked_limit": 10**7, "files_limit": 1000}


def refusals(archive: Path, home: Path, **limits: int) -> tuple[str, str]:
    """The codes of a dry run and of an unpacking, which must leave nothing behind."""
    codes = []
    for attempt in (
        lambda: measure(archive),
        lambda: unpack(archive, home / "into", **(limits or PLENTY)),
    ):
        with pytest.raises(Refused) as refused:
            attempt()
        codes.append(refused.value.code)
    assert not (home / "into").exists()
    return codes[0], codes[1]


def tree(home: Path) -> dict[str, bytes | None]:
    return {
        str(path.relative_to(home)): path.read_bytes() if path.is_file() else None
        for path in sorted(home.rglob("*"))
    }


@pytest.mark.parametrize("tar_format", FORMATS)
def test_an_honest_archive_unpacks_as_it_is(tmp_path: Path, tar_format: int) -> None:
    deep = "/".join(["folder-with-a-rather-long-name"] * 6) + "/ünïcödé" * (
        tar_format != tarfile.USTAR_FORMAT
    )
    archive = write_archive(
        tmp_path / "a.tar.gz",
        folder("./"),
        member("./install.sh", b"#!/bin/sh\n", mode=0o4755),
        member("./empty", b"", mode=0o666),
        folder("config"),
        member(f"config/{deep}/x", b"y" * 100_000),
        tar_format=tar_format,
    )
    unpack(archive, tmp_path / "into", **PLENTY)
    found = tree(tmp_path / "into")
    assert {name for name, data in found.items() if data is not None} == {
        "install.sh",
        "empty",
        f"config/{deep}/x",
    }
    assert found[f"config/{deep}/x"] == b"y" * 100_000
    assert (tmp_path / "into/install.sh").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "into/empty").stat().st_mode & 0o7777 == 0o644
    assert (tmp_path / "into/config").stat().st_mode & 0o7777 == 0o755


def test_modes_do_not_depend_on_the_umask(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", member("d/x", b"1", mode=0o700))
    before = os.umask(0o077)
    try:
        unpack(archive, tmp_path / "into", **PLENTY)
    finally:
        os.umask(before)
    assert (tmp_path / "into").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "into/d").stat().st_mode & 0o777 == 0o755
    assert (tmp_path / "into/d/x").stat().st_mode & 0o777 == 0o755


def test_what_is_measured_is_what_unpacks(tmp_path: Path) -> None:
    archive = write_archive(
        tmp_path / "a.tar.gz", member("a", b"12345"), folder("d"), member("d/b", b"678")
    )
    measured = measure(archive)
    content = gzip.decompress(archive.read_bytes())
    assert measured.size == archive.stat().st_size
    assert measured.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert (measured.unpacked_size, measured.files) == (8, 3)
    assert measured.names == ("a", "d/b")
    assert measured.content_sha256 == hashlib.sha256(content).hexdigest()
    unpack(archive, tmp_path / "into", unpacked_limit=8, files_limit=3)


@pytest.mark.parametrize(
    ("code", "hostile"),
    [
        ("unsafe-name", [member("../x", b"1")]),
        ("unsafe-name", [member("a/../../x", b"1")]),
        ("unsafe-name", [member("/etc/x", b"1")]),
        ("unsafe-name", [member("a//x", b"1")]),
        ("unsafe-name", [member("a/./x", b"1")]),
        ("unsafe-name", [folder("..")]),
        ("unsafe-name", [folder("/")]),
        ("unsafe-name", [member(".", b"1")]),
        ("unsafe-name", [member("a\nb", b"1")]),
        ("unsafe-name", [member("a\x1bb", b"1")]),
        ("unsafe-name", [member("a\udcffb", b"1")]),
        ("unsafe-name", [member("n" * 256, b"1")]),
        ("unsafe-name", [member("/".join(["d" * 100] * 40), b"1")]),
        ("member-type", [member("l", type=tarfile.SYMTYPE, linkname="/etc")]),
        (
            "member-type",
            [member("l", type=tarfile.SYMTYPE, linkname=".."), member("l/x", b"1")],
        ),
        ("member-type", [member("h", type=tarfile.LNKTYPE, linkname="/etc/passwd")]),
        ("member-type", [member("dev", type=tarfile.CHRTYPE)]),
        ("member-type", [member("dev", type=tarfile.BLKTYPE)]),
        ("member-type", [member("pipe", type=tarfile.FIFOTYPE)]),
        ("member-type", [member("odd", type=tarfile.CONTTYPE)]),
        ("duplicate-name", [member("x", b"1"), member("x", b"2")]),
        ("duplicate-name", [folder("d"), folder("d")]),
        ("duplicate-name", [member("x", b"1"), folder("x")]),
        ("duplicate-name", [member("x", b"1"), member("x/y", b"2")]),
        ("duplicate-name", [member("x/y", b"1"), member("x", b"2")]),
        ("name-clash", [member("README", b"1"), member("readme", b"2")]),
        ("name-clash", [member("Docs/a", b"1"), member("docs/b", b"2")]),
        ("name-clash", [member("caf\u00e9", b"1"), member("cafe\u0301", b"2")]),
    ],
)
def test_a_hostile_member_is_refused_and_nothing_stays(
    tmp_path: Path, code: str, hostile: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    home = tmp_path / "some/where"
    home.mkdir(parents=True)
    archive = write_archive(home / "a.tar.gz", member("fine", b"1"), *hostile)
    before = set(tmp_path.rglob("*"))
    assert refusals(archive, home) == (code, code)
    assert set(tmp_path.rglob("*")) == before


def test_a_link_chain_past_path_max_is_refused_at_its_first_link(tmp_path: Path) -> None:
    chain = []
    for depth in range(16):
        inside = "/".join(["d" * 247] * depth)
        chain.append(folder(f"{inside}/{'d' * 247}".lstrip("/")))
        chain.append(
            member(f"{inside}/{depth:x}".lstrip("/"), type=tarfile.SYMTYPE, linkname="d" * 247)
        )
    archive = write_archive(tmp_path / "a.tar.gz", *chain, tar_format=tarfile.PAX_FORMAT)
    assert refusals(archive, tmp_path) == ("member-type", "member-type")


def test_a_folder_that_became_a_link_meanwhile_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    archive = write_archive(tmp_path / "a.tar.gz", folder("d"), member("d/x", b"1"))
    real_mkdir = os.mkdir

    def swap(name: str, mode: int, *, dir_fd: int | None = None) -> None:
        if dir_fd is not None and not (tmp_path / "into/d").is_symlink():
            (tmp_path / "into/d").symlink_to(outside)
        real_mkdir(name, mode, dir_fd=dir_fd)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="d"):
        patch.setattr(os, "mkdir", swap)
        unpack(archive, tmp_path / "into", **PLENTY)
    assert list(outside.iterdir()) == []


def test_a_bomb_of_zeros_is_stopped_by_the_signed_size(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", member("zeros", bytes(30 * 2**20)))
    assert archive.stat().st_size < 60_000
    with pytest.raises(Refused, match="expansion-cap"):
        unpack(archive, tmp_path / "into", unpacked_limit=1000, files_limit=10)


def test_a_stream_longer_than_its_members_is_stopped_before_it_is_parsed(tmp_path: Path) -> None:
    archive = write_raw(tmp_path / "a.tar.gz", bytes(stream_limit(1000, 10) + 1))
    with pytest.raises(Refused, match="expansion-cap"):
        unpack(archive, tmp_path / "into", unpacked_limit=1000, files_limit=10)


def test_headers_that_are_larger_than_a_device_reads_are_not_signed(tmp_path: Path) -> None:
    long = {"comment": "x" * 15_000}
    members = [member(f"f{number}", pax_headers=long) for number in range(40)]
    package = write_archive(tmp_path / "p.tar.gz", *members, tar_format=tarfile.PAX_FORMAT)
    with pytest.raises(Refused, match="expansion-cap: its headers"):
        measure(package)


def test_a_flood_of_members_is_stopped_by_the_signed_count(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", *(member(f"f{n}") for n in range(300)))
    with pytest.raises(Refused, match="too-many-files"):
        unpack(archive, tmp_path / "into", unpacked_limit=10, files_limit=299)


def test_one_byte_or_one_member_too_many_is_too_many(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", member("a", b"12345"), member("b", b"6"))
    for limits, code in (((5, 2), "expansion-cap"), ((6, 1), "too-many-files")):
        with pytest.raises(Refused, match=code):
            unpack(archive, tmp_path / "x", unpacked_limit=limits[0], files_limit=limits[1])
    unpack(archive, tmp_path / "x", unpacked_limit=6, files_limit=2)


def raw_tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytearray:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return bytearray(raw.getvalue())


def test_a_broken_header_behind_a_good_member_does_not_end_the_archive_silently(
    tmp_path: Path,
) -> None:
    raw = raw_tar(member("a", b"1"), member("b", b"2"))
    raw[1024 + 3] ^= 1
    assert refusals(write_raw(tmp_path / "a.tar.gz", bytes(raw)), tmp_path) == ("bad-header",) * 2


def test_data_behind_the_end_of_the_archive_is_refused(tmp_path: Path) -> None:
    raw = raw_tar(member("a", b"1"))
    raw[-1] = 1
    assert refusals(write_raw(tmp_path / "a.tar.gz", bytes(raw)), tmp_path) == (
        "trailing-data",
        "trailing-data",
    )


@pytest.mark.parametrize("cut", [10, 600, 1300])
def test_a_truncated_tar_is_refused(tmp_path: Path, cut: int) -> None:
    raw = raw_tar(member("a", b"1" * 600))
    archive = write_raw(tmp_path / "a.tar.gz", bytes(raw[:cut]))
    assert refusals(archive, tmp_path) == ("truncated", "truncated")


def test_what_is_no_gzip_or_a_cut_one_is_refused(tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "a.tar.gz", member("a", b"1" * 600)).read_bytes()
    for data in (b"", b"MZ nothing", whole[:-9], whole + b"tail"):
        archive = tmp_path / "b.tar.gz"
        archive.write_bytes(data)
        codes = refusals(archive, tmp_path)
        assert codes == ("truncated",) * 2 if not data else codes == ("not-an-archive",) * 2


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        ("bad-header", {"size": "-1"}),
        ("bad-header", {"size": "9" * 30}),
        ("member-type", {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
        ("unsafe-name", {"path": "../../x"}),
        ("bad-header", {"comment": "x" * 20_000}),
    ],
)
def test_a_hostile_extended_header_is_refused(
    tmp_path: Path, code: str, headers: dict[str, str]
) -> None:
    info, data = member("a", b"1")
    info.pax_headers = headers
    archive = write_archive(tmp_path / "a.tar.gz", (info, data), tar_format=tarfile.PAX_FORMAT)
    assert refusals(archive, tmp_path) == (code, code)


def header(kind: bytes, data: bytes, **fields: Any) -> bytes:
    """A header block of that kind, with its data."""
    info, _ = member("x", data, type=kind, **fields)
    block = info.tobuf(tarfile.GNU_FORMAT, "utf-8", "surrogateescape")
    return block + data + bytes(-len(data) % 512)


@pytest.mark.parametrize(
    "records",
    [
        b"",
        b"x a=b\n",
        b"6a=bc\n",
        b"9" * 5000 + b" a=b\n",
        b"20 a=b\n",
        b"7 abcd\n",
        b"7 a=bcd",
        b"6 a=b\n7 a=bcd",
    ],
)
def test_records_that_do_not_add_up_are_refused(tmp_path: Path, records: bytes) -> None:
    good = header(tarfile.XHDTYPE, b"6 a=b\n") + header(tarfile.REGTYPE, b"1") + bytes(1024)
    unpack(write_raw(tmp_path / "g.tar.gz", good), tmp_path / "good", **PLENTY)
    bad = header(tarfile.XHDTYPE, records) + header(tarfile.REGTYPE, b"1") + bytes(1024)
    archive = write_raw(tmp_path / "a.tar.gz", bad)
    assert refusals(archive, tmp_path) == ("bad-header", "bad-header")


@pytest.mark.parametrize("records", [b"10 path=y\n", b"10 size=1\n"])
def test_an_extended_header_without_its_member_is_refused(tmp_path: Path, records: bytes) -> None:
    archive = write_raw(tmp_path / "a.tar.gz", header(tarfile.XHDTYPE, records) + bytes(1024))
    assert refusals(archive, tmp_path) == ("truncated", "truncated")


@pytest.mark.parametrize(
    "blocks",
    [
        header(tarfile.XGLTYPE, b"10 path=y\n") + header(tarfile.REGTYPE, b"1"),
        header(tarfile.XGLTYPE, b"10 size=9\n") + header(tarfile.REGTYPE, b"1"),
        header(tarfile.REGTYPE, b"", size=-1),
        header(tarfile.XHDTYPE, b"", size=-1) + header(tarfile.REGTYPE, b"1"),
        header(tarfile.DIRTYPE, b"hidden"),
    ],
)
def test_headers_that_speak_for_others_or_of_no_size_are_refused(
    tmp_path: Path, blocks: bytes
) -> None:
    archive = write_raw(tmp_path / "a.tar.gz", blocks + bytes(1024))
    assert refusals(archive, tmp_path) == ("bad-header", "bad-header")


def test_a_full_disk_leaves_nothing_behind(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "a.tar.gz", member("a", b"1"))

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError, match="No space"):
        patch.setattr("os.fsync", full)
        unpack(archive, tmp_path / "into", **PLENTY)
    assert not (tmp_path / "into").exists()


@settings(max_examples=150)
@given(data=st.data())
def test_no_change_of_an_archive_makes_anything_but_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    home = tmp_path_factory.mktemp("fuzz")
    raw = raw_tar(member("a" * 120, b"1" * 700), folder("d"), member("d/b", b"2"))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    archive = write_raw(home / "a.tar.gz", bytes(raw))
    try:
        measured = measure(archive)
    except Refused:
        with pytest.raises(Refused):
            unpack(archive, home / "into", **PLENTY)
        return
    unpack(
        archive,
        home / "into",
        unpacked_limit=measured.unpacked_size,
        files_limit=measured.files,
    )
    assert {path.name for path in home.iterdir()} == {"a.tar.gz", "into"}
