"""Saved paths come back as they were, whatever an install made of them."""

import os
from pathlib import Path

import pytest

from towline.agent import saved
from towline.schemas.problems import Problem


def write_list(release: Path, text: str) -> Path:
    release.mkdir(exist_ok=True)
    (release / "backup.paths").write_text(text)
    return release


def test_a_list_holds_paths_comments_and_blank_lines(tmp_path: Path) -> None:
    release = write_list(tmp_path / "r", "# why\n\n/etc/app.conf\n  state/app \n")
    assert saved.listed(release, tmp_path) == (Path("/etc/app.conf"), tmp_path / "state/app")
    assert saved.listed(tmp_path, tmp_path) == ()


def test_a_path_that_climbs_is_told(tmp_path: Path) -> None:
    release = write_list(tmp_path / "r", "/opt/../etc/passwd\n")
    with pytest.raises(Problem, match=r"'\.\.'"):
        saved.listed(release, tmp_path)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"etc/\xff", "line 2 is not UTF-8"),
        (b"a\0b", "NUL"),
        (b"/", "or holds it"),
        (b"//", "or holds it"),
        (b".", "or holds it"),
        (b"/var/./lib//", "or holds it"),
        (b"/var/lib/towline", "or holds it"),
        (b"components", "its own files"),
        (b"/var/lib/towline/trust/state.json", "its own files"),
        (b"/var/../x", "'..' is not allowed"),
    ],
)
def test_what_could_not_be_put_back_or_is_the_agents_own_is_told(line: bytes, words: str) -> None:
    with pytest.raises(Problem, match=words):
        saved.paths_in(b"fine\n" + line + b"\n", Path("/var/lib/towline"))


def test_files_folders_links_and_absence_come_back(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "folder/deep").mkdir(parents=True)
    (home / "folder/deep/a").write_text("a")
    (home / "folder/link").symlink_to("deep/a")
    (home / "folder").chmod(0o750)
    (home / "file").write_text("old")
    (home / "file").chmod(0o4711)
    os.utime(home / "file", (1_000_000, 1_000_000))
    (home / "dangling").symlink_to("nowhere")
    names = ("folder", "file", "dangling", "absent")
    saved.save(tuple(home / name for name in names), tmp_path / "saved")

    (home / "folder/deep/a").write_text("new")
    (home / "folder/added").touch()
    (home / "file").unlink()
    (home / "file").mkdir()
    (home / "dangling").unlink()
    (home / "absent").mkdir()
    (home / "absent/x").touch()
    for _ in range(2):
        assert saved.restore(tmp_path / "saved") == 4
        assert sorted(str(p.relative_to(home)) for p in home.rglob("*")) == [
            "dangling",
            "file",
            "folder",
            "folder/deep",
            "folder/deep/a",
            "folder/link",
        ]
    assert (home / "folder/deep/a").read_text() == "a"
    assert (home / "folder/link").readlink() == Path("deep/a")
    assert (home / "folder").stat().st_mode & 0o7777 == 0o750
    assert (home / "file").read_text() == "old"
    assert (home / "file").stat().st_mode & 0o7777 == 0o4711
    assert (home / "file").stat().st_mtime == 1_000_000
    assert (home / "dangling").readlink() == Path("nowhere")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owners_come_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    os.chown(path, 1234, 2345)
    saved.save((path,), tmp_path / "saved")
    path.write_text("2")
    os.chown(path, 0, 0)
    saved.restore(tmp_path / "saved")
    assert (path.stat().st_uid, path.stat().st_gid) == (1234, 2345)


def test_a_folder_whose_parent_is_gone_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a/b/file"
    path.parent.mkdir(parents=True)
    path.write_text("1")
    saved.save((path,), tmp_path / "saved")
    path.unlink()
    path.parent.rmdir()
    saved.restore(tmp_path / "saved")
    assert path.read_text() == "1"


def test_copies_count_only_once_all_of_them_are_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("1")
    saved.save((path,), tmp_path / "saved")
    (tmp_path / "saved/index.json").unlink()
    path.write_text("2")
    assert saved.restore(tmp_path / "saved") == 0
    assert path.read_text() == "2"
    saved.save((path,), tmp_path / "saved")
    saved.forget(tmp_path / "saved")
    assert not (tmp_path / "saved").exists()
