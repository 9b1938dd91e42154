"""What the device says of itself: its system, its time zone, the room on its disk."""

import os
import platform
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import towline
from towline.schemas.windows import zone_named

_LOCALTIME = Path("/etc/localtime")
_TIMEZONE = Path("/etc/timezone")
_FREE_STEP_BYTES = 256 * 1024 * 1024
"""Free space is told in steps, so that a log that grows is no new fact at each poll."""


def facts(root: Path, before: Mapping[str, Any]) -> dict[str, Any]:
    """The facts as a report carries them, beside those that were reported `before`.

    Free space is that of the agent's folder.
    """
    return {
        "agent": towline.__version__,
        "system": platform.system(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "timeZone": time_zone(),
        "freeBytes": _free_bytes(root, before.get("freeBytes")),
    }


def _free_bytes(root: Path, before: object) -> int | None:
    """Never more than there is; more than before only by two steps.

    Else a disk that swings about the edge of a step would be news at each poll.
    """
    try:
        free = shutil.disk_usage(root).free
    except OSError:
        return None
    if isinstance(before, int) and before <= free < before + 2 * _FREE_STEP_BYTES:
        return before
    return free - free % _FREE_STEP_BYTES


def time_zone() -> str | None:
    """The zone's IANA name: of TZ, of /etc/timezone, or of what /etc/localtime points to."""
    for name in (os.environ.get("TZ", "").lstrip(":"), _of_timezone(), _of_localtime()):
        if _is_zone(name):
            return name
    return None


def _is_zone(name: str) -> bool:
    """Whether it is a zone that others know: `posix*` and `right/` are copies that few have."""
    try:
        zone_named(name)
    except ValueError:
        return False
    return not name.startswith(("posix", "right/"))


def _of_timezone() -> str:
    try:
        return _TIMEZONE.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _of_localtime() -> str:
    try:
        target = str(_LOCALTIME.resolve(strict=True))
    except OSError:
        return ""
    return target.partition("/zoneinfo/")[2]
