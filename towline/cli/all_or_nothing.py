"""Changes to several files that happen together: when the block ends in an error, all go back.

Each file is replaced in one step, so nobody ever reads half of one. A power cut between two files
is not covered: the commit that follows is what makes them count.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType


class AllOrNothing:
    """Use as a context manager; files written in the block are restored when it raises."""

    def __init__(self) -> None:
        self._undo = ExitStack()

    def __enter__(self) -> "AllOrNothing":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self._undo.pop_all()
        self._undo.close()

    def write(self, file: Path, data: bytes, *, mode: int = 0o644) -> None:
        """Give `file` this content; missing folders are made."""
        self._remember(file)
        replace(file, data, mode)

    def move(self, source: Path, target: Path) -> None:
        """Put `source`, a file on the same disk, in `target`'s place."""
        self._remember(target)
        source.replace(target)

    def remove(self, file: Path) -> None:
        """Take `file` away."""
        self._remember(file)
        file.unlink()

    def _remember(self, file: Path) -> None:
        """Make the folders and note what undoes all; the last thing noted goes back first."""
        missing = [folder for folder in file.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir()
            self._undo.callback(folder.rmdir)
        self._undo.callback(_restoring(file))


def replace(file: Path, data: bytes, mode: int) -> None:
    """Write a file of `mode` in one step."""
    descriptor, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as temporary:
            temporary.write(data)
            os.fchmod(temporary.fileno(), mode)
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _restoring(file: Path) -> Callable[[], None]:
    """What brings `file` back to how it is now."""
    if not file.exists():
        return lambda: file.unlink(missing_ok=True)
    data, mode = file.read_bytes(), file.stat().st_mode & 0o777
    return lambda: replace(file, data, mode)
