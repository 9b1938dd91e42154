"""Copies what an install may overwrite, and puts it back.

A package lists the paths in `backup.paths`, one a line, absolute or relative to the agent's root;
`#` begins a comment. A path that was not there is remembered as absent and removed again. Putting
back may be interrupted and repeated: the copies stay until the attempt is over.
"""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

from towline.agent import durable
from towline.agent.layout import Layout
from towline.schemas.problems import Problem

LIST_NAME = "backup.paths"
_INDEX = "index.json"


def listed(release: Path, root: Path) -> tuple[Path, ...]:
    """The paths that a package lists; raises Problem as `paths_in` does."""
    try:
        data = (release / LIST_NAME).read_bytes()
    except FileNotFoundError:
        return ()
    return paths_in(data, root)


def paths_in(data: bytes, root: Path) -> tuple[Path, ...]:
    """The paths of a list's bytes; raises Problem for what could not be put back.

    `root` is the agent's: what the agent keeps there, and any folder around it, is not a package's.
    """
    try:
        lines = data.decode().splitlines()
    except UnicodeDecodeError as error:
        number = data.count(b"\n", 0, error.start) + 1
        raise Problem(f"{LIST_NAME}: line {number} is not UTF-8", remedy="write it anew") from None
    texts = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    return tuple(_path(text, root) for text in texts)


def _path(text: str, root: Path) -> Path:
    path = root / re.sub("^/+", "/", text)
    if fault := _fault(text, path, root):
        raise Problem(
            f"{LIST_NAME} holds {text!r}: {fault}",
            remedy="list only the files and folders that install.sh overwrites",
        )
    return path


def _fault(text: str, path: Path, root: Path) -> str:
    if ".." in Path(text).parts:
        return "'..' is not allowed there"
    if "\0" in text:
        return "no path has a NUL byte"
    if root.is_relative_to(path):
        return f"it is the agent's folder {root}, or holds it"
    if any(path.is_relative_to(own) for own in Layout(root).own):
        return "the agent keeps its own files there"
    return ""


def save(paths: tuple[Path, ...], folder: Path) -> None:
    """Copy `paths` into `folder`, durable when it returns; an earlier copy is replaced."""
    forget(folder)
    folder.mkdir(parents=True)
    index = []
    for number, path in enumerate(paths):
        is_there = os.path.lexists(path)
        if is_there:
            _copy(path, folder / str(number))
        index.append({"path": str(path), "isThere": is_there})
    _sync_tree(folder)
    durable.write_file(folder / _INDEX, json.dumps(index).encode())


def restore(folder: Path) -> int:
    """Put everything back; the number of paths. Raises OSError, or ValueError for an index
    that is none.
    """
    try:
        index = json.loads((folder / _INDEX).read_bytes())
    except FileNotFoundError:
        return 0
    for number, entry in enumerate(index):
        _put_back(folder / str(number), Path(entry["path"]), is_there=entry["isThere"])
    return len(index)


def forget(folder: Path) -> None:
    """Remove the copies, the index first."""
    if folder.exists():
        (folder / _INDEX).unlink(missing_ok=True)
        shutil.rmtree(folder)


def _put_back(copy: Path, path: Path, *, is_there: bool) -> None:
    fresh = path.with_name(f".{path.name}.towline-new")
    old = path.with_name(f".{path.name}.towline-old")
    _remove(fresh)
    _remove(old)
    if is_there:
        path.parent.mkdir(parents=True, exist_ok=True)
        _copy(copy, fresh)
        _sync_tree(fresh)
    if path.is_dir() and not path.is_symlink():
        path.rename(old)
    if is_there:
        fresh.replace(path)
    else:
        _remove(path)
    _remove(old)
    if path.parent.is_dir():
        durable.sync_folder(path.parent)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()


def _copy(source: Path, target: Path) -> None:
    """Copy a file, link or folder with modes, times and, where allowed, owners."""
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True, copy_function=_copy_file)
        for folder, _, _ in os.walk(source):
            _copy_owner(Path(folder), target / Path(folder).relative_to(source))
    else:
        _copy_file(str(source), str(target))


def _copy_file(source: str, target: str) -> str:
    shutil.copy2(source, target, follow_symlinks=False)
    _copy_owner(Path(source), Path(target))
    return target


def _copy_owner(source: Path, target: Path) -> None:
    found = source.lstat()
    with contextlib.suppress(PermissionError):
        os.chown(target, found.st_uid, found.st_gid, follow_symlinks=False)
        if not target.is_symlink():
            target.chmod(found.st_mode & 0o7777)  # chown clears setuid


def _sync_tree(path: Path) -> None:
    if path.is_symlink():
        return
    if not path.is_dir():
        _sync_file(path)
        return
    for folder, _, names in os.walk(path, topdown=False):
        for name in names:
            if not (Path(folder) / name).is_symlink():
                _sync_file(Path(folder) / name)
        durable.sync_folder(Path(folder))


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
