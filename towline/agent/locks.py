"""Files beside the device's work that hold installs: each one in `locks/` does, by its name.

Anything on the device may put one there and take it away; its first line says why. The agent's own
lock lies in the same folder and holds nothing.
"""

import contextlib
import os

from towline.agent import durable
from towline.agent.layout import Layout
from towline.schemas.identifiers import ID_GRAMMAR, is_id
from towline.schemas.problems import Problem

_LINE_LIMIT = 200


def held(layout: Layout) -> tuple[str, ...]:
    """`name: reason` of each lock, in order of their names."""
    folder = layout.lock.parent
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    own = layout.lock.name
    return tuple(_shown(layout, name) for name in names if name != own and name[0] != ".")


def _shown(layout: Layout, name: str) -> str:
    path, line = layout.lock.parent / name, ""
    shown = os.fsencode(name).decode("utf-8", "replace")
    with contextlib.suppress(OSError):
        if path.is_file():
            with path.open("rb") as file:
                line = file.readline(_LINE_LIMIT).decode("utf-8", "replace").strip()
    return f"{shown}: {line}" if line else shown


def put(layout: Layout, name: str, reason: str) -> None:
    """Hold installs until `take`; the same name replaces the reason. Raises Problem."""
    if not is_id(name) or name == layout.lock.name:
        raise Problem(
            f"{name!r} cannot name a lock",
            remedy=f"use {ID_GRAMMAR}, but not {layout.lock.name}",
        )
    layout.lock.parent.mkdir(parents=True, exist_ok=True)
    line = " ".join(reason.split())
    durable.write_file(layout.lock.parent / name, f"{line}\n".encode(), 0o644)


def take(layout: Layout, name: str) -> None:
    """Let installs go on, as far as this lock is concerned. Raises Problem when there is none."""
    is_possible = is_id(name) and name != layout.lock.name
    try:
        if is_possible:
            (layout.lock.parent / name).unlink()
            return
    except FileNotFoundError:
        pass
    raise Problem(f"there is no lock {name!r}", remedy="towline-agent status --why lists them")
