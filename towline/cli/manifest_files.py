"""The manifests of a working copy as they lie on disk, committed or not."""

import os
from pathlib import Path

from towline.cli.printing import tell
from towline.manifests.load import is_manifest_path, load
from towline.schemas.problems import Problem


def read_manifests(fleet: Path) -> dict[str, bytes]:
    """Every file that may be a manifest, by its path in the fleet's folder."""
    found = {}
    for folder, folders, names in os.walk(fleet):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            file = Path(folder) / name
            path = file.relative_to(fleet).as_posix()
            if is_manifest_path(path) and file.is_file():
                found[path] = file.read_bytes()
    return found


def refuse_broken(fleet: Path, file: Path, text: str) -> None:
    """Raises Problem when `file` with this text would not load; warns of what holds the commit."""
    path = file.relative_to(fleet).as_posix()
    loaded = load(read_manifests(fleet) | {path: text.encode()})
    ours = [str(error) for error in loaded.errors if error.place.file == path]
    if ours:
        raise Problem("the manifest would not load:\n" + "\n".join(ours))
    for error in loaded.errors:
        if error.holds_commit:
            tell(f"warning: nothing will be rolled out before this is mended: {error}")
