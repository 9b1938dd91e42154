"""What only the owner of a SQLite store may read: the file, what lies beside it, and its folder.

A store holds by what people and devices are recognised, and SQLite leaves the mode of a new file to
the umask. What SQLite itself makes beside a file gets the mode of that file.
"""

import glob
import os
from contextlib import suppress
from pathlib import Path

import structlog

log = structlog.get_logger()

_FILE, _FOLDER = 0o600, 0o700
_OTHERS = 0o077


def make_folder(folder: Path) -> None:
    """A new folder is for its owner alone; one that is there is left, as others may need it."""
    folder.mkdir(mode=_FOLDER, parents=True, exist_ok=True)


def make_file(file: Path) -> None:
    """An empty file, so that whoever fills it makes none of his own; one that is there is kept.

    What does not let it be made is told by whoever opens it.
    """
    with suppress(OSError):
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE))


def tighten(file: Path) -> None:
    """Take from all others what an earlier Towline let them read: a store, and its copies here."""
    beside = (file.with_name(file.name + end) for end in ("-wal", "-shm"))
    copies = file.parent.glob(f"{glob.escape(file.name)}.before-*")
    for each in (file, *beside, *copies):
        try:
            mode = each.stat().st_mode & 0o7777
            if mode & _OTHERS:
                each.chmod(mode & ~_OTHERS)
        except FileNotFoundError:
            pass  # there is none yet, or SQLite took it away meanwhile
        except OSError as error:
            log.warning(
                "store.open-to-others",
                file=str(each),
                error=error.strerror,
                remedy=f"chmod 600 {each}, as its owner",
            )
