"""One server for each data folder: a second one is refused, and told who is there.

The folder is held by a lock on its file `lock`, which holds the holder's pid. It is free again as
soon as the holder is gone, however it went.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from towline.schemas.problems import Problem

OWN_FOLDER = "stop it, or give this one its own folder with --data"


@contextmanager
def only_on_folder(data: Path, remedy: str = OWN_FOLDER) -> Iterator[None]:
    """Hold the data folder's lock; raises Problem when another process has it."""
    with (data / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            pid = lock.read().strip()
            raise Problem(
                f"another server uses the data folder {data}" + (f": pid {pid}" if pid else ""),
                remedy=remedy,
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield
