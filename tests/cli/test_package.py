"""`towline package build`: the same bytes every time, and what never becomes a package."""

import gzip
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from towline.agent.unpack import unpack
from towline.cli import main
from towline.cli.package import build
from towline.schemas.problems import Problem

TOWLINE = Path(sys.executable).with_name("towline")


def test_the_path_goes_to_stdout_and_all_else_to_stderr(hello: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [TOWLINE, "package", "build", hello, "-o", "out.tar.gz"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "out.tar.gz\n"
    assert "2 files" in done.stderr
    unpack(tmp_path / "out.tar.gz", tmp_path / "unpacked", unpacked_limit=1000, files_limit=9)
    assert (tmp_path / "unpacked/share/greeting").read_text(encoding="utf-8") == "hello\n"


def test_time_umask_order_and_owner_bits_do_not_change_the_bytes(tmp_path: Path) -> None:
    packages = []
    for number, (names, umask, mode) in enumerate(
        [(("b", "install.sh", "A"), 0o022, 0o644), (("A", "b", "install.sh"), 0o077, 0o600)]
    ):
        before = os.umask(umask)
        try:
            folder = tmp_path / f"folder{number}"
            folder.mkdir()
            for name in names:
                (folder / name).write_text("#!/bin/sh\n" if "." in name else name, "utf-8")
                (folder / name).chmod(mode)
                os.utime(folder / name, (number * 10**9, number * 10**9))
            packages.append(tmp_path / f"{number}.tar.gz")
            build(folder, packages[-1])
        finally:
            os.umask(before)
    assert packages[0].read_bytes() == packages[1].read_bytes()


def test_members_are_sorted_and_say_nothing_of_who_built_them(hello: Path, tmp_path: Path) -> None:
    (hello / "tool").write_bytes(b"\x7fELF")
    (hello / "tool").chmod(0o710)
    build(hello, package := tmp_path / "p.tar.gz")
    with tarfile.open(package) as archive:
        members = archive.getmembers()
    assert [(member.name, member.mode) for member in members] == [
        ("install.sh", 0o755),
        ("share", 0o755),
        ("share/greeting", 0o644),
        ("tool", 0o755),
    ]
    assert {(m.uid, m.gid, m.uname, m.gname, m.mtime) for m in members} == {(0, 0, "", "", 0)}
    header = package.read_bytes()[:10]
    assert header[3:8] == b"\0" * 5, "no name and no time in gzip's header"


def test_the_git_folder_is_left_out_and_that_is_said(
    hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    subprocess.run(["git", "-C", hello, "init", "-q"], check=True)
    measured = build(hello, tmp_path / "p.tar.gz")
    assert measured.names == ("install.sh", "share/greeting")
    assert "left out" in capsys.readouterr().err


def test_a_long_name_and_one_beyond_ascii_arrive_whole(hello: Path, tmp_path: Path) -> None:
    name = "ä" * 100
    (hello / name).write_text("x", encoding="utf-8")
    measured = build(hello, tmp_path / "p.tar.gz")
    assert name in measured.names


def _without_script(folder: Path) -> None:
    (folder / "install.sh").unlink()


def _script_is_a_folder(folder: Path) -> None:
    (folder / "install.sh").unlink()
    (folder / "install.sh").mkdir()


def _carriage_returns(folder: Path) -> None:
    (folder / "share" / "run").write_bytes(b"#!/bin/sh\necho\r\n")


def _two_cases(folder: Path) -> None:
    (folder / "share" / "Greeting").touch()


def _link(folder: Path) -> None:
    (folder / "link").symlink_to("/etc/passwd")


def _link_to_folder(folder: Path) -> None:
    (folder / "link").symlink_to("share")


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "pipe")


def _newline(folder: Path) -> None:
    (folder / "a\nb").touch()


def _odd_backup(folder: Path) -> None:
    (folder / "backup.paths").write_bytes(b"etc/\xff\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_odd_backup, "backup.paths: line 1 is not UTF-8"),
        (_without_script, "it has no install.sh"),
        (_script_is_a_folder, "it has no install.sh"),
        (_carriage_returns, "share/run:2: it begins with #!"),
        (_two_cases, "only in case"),
        (_link, "link: it is a symbolic link to /etc/passwd"),
        (_link_to_folder, "link: it is a symbolic link to share"),
        (_pipe, "pipe: it is neither a file nor a folder"),
        (_newline, "cannot be printed"),
        (shutil.rmtree, "is no folder"),
    ],
)
def test_what_a_device_could_not_install_is_refused_and_nothing_written(
    spoil: object, words: str, hello: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(spoil)
    spoil(hello)
    out = tmp_path / "out"
    out.mkdir()
    assert main.run(["package", "build", str(hello), "-o", str(out / "p.tar.gz")]) == 1
    said = capsys.readouterr().err
    assert words in said
    assert "  → " in said
    assert list(out.iterdir()) == []


def test_binary_files_and_plain_texts_may_hold_cr_lf(hello: Path, tmp_path: Path) -> None:
    (hello / "notes.txt").write_bytes(b"one\r\n")
    (hello / "self-extracting").write_bytes(b"#!/bin/sh\nexit\n\0\r\n")
    assert len(build(hello, tmp_path / "p.tar.gz").names) == 4


def test_a_package_never_contains_itself(hello: Path) -> None:
    with pytest.raises(Problem, match="part of the package itself"):
        build(hello, hello / "p.tar.gz")


def test_a_format_that_no_device_installs_is_refused_by_name(hello: Path, tmp_path: Path) -> None:
    with pytest.raises(Problem, match="the format tree is not supported yet"):
        build(hello, tmp_path / "p.tar.gz", "tree")


def test_what_the_unpacker_refuses_is_refused_in_words(hello: Path, tmp_path: Path) -> None:
    deep = hello
    for _ in range(6):
        deep = deep / ("d" * 200)
    deep.mkdir(parents=True)
    with pytest.raises(Problem, match="a device would refuse a package of this folder"):
        build(hello, tmp_path / "p.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["hello"]


def test_the_content_is_what_gzip_unpacks(hello: Path, tmp_path: Path) -> None:
    measured = build(hello, tmp_path / "p.tar.gz")
    content = gzip.decompress((tmp_path / "p.tar.gz").read_bytes())
    assert measured.unpacked_size == len("#!/bin/sh\nexit 0\n") + len("hello\n")
    assert len(content) % tarfile.RECORDSIZE == 0
