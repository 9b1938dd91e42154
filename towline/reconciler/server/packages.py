"""/packages/: package files with ranges, so that a device resumes where it was cut off.

Nothing here is secret or believed: the device checks each file against its signed statement.
"""

import asyncio
import os
import stat
from pathlib import Path

from starlette.responses import FileResponse

from towline.reconciler.server.wire import Receive, Scope, Send, problem

PREFIX = "/packages/"


class Packages:
    """Serves the files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["method"] not in ("GET", "HEAD"):
            await problem(405, "method", "GET or HEAD").send(send)
            return
        name = scope["path"].removeprefix(PREFIX)
        found = await asyncio.to_thread(find_package, self._folder, name)
        if found is None:
            await problem(404, "not-found", "there is no such package").send(send)
            return
        path, status = found
        response = FileResponse(path, media_type="application/octet-stream", stat_result=status)
        await response(scope, receive, send)


def find_package(folder: Path, name: str) -> tuple[Path, os.stat_result] | None:
    """The file below the folder, links resolved; None when it is none or lies outside."""
    if "\0" in name or any(part in ("", ".", "..") for part in name.split("/")):
        return None
    try:
        path = (folder / name).resolve(strict=True)
        status = path.stat()
    except (OSError, RuntimeError):
        return None
    is_inside = path.is_relative_to(folder.resolve())
    return (path, status) if is_inside and stat.S_ISREG(status.st_mode) else None
