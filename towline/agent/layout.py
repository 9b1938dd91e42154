"""Where everything lies on the device, and which releases a component has.

The disk is the truth: `current` and `previous` are links into `releases/`, and a release counts as
staged only when the note beside its folder exists, which is written last.
"""

import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from towline.agent import durable
from towline.schemas.reports import Installed

DEFAULT_ROOT = Path("/var/lib/towline")
_UNSAFE = re.compile(r"[^A-Za-z0-9._+~-]")


@dataclass(frozen=True, slots=True)
class Release:
    """A release that lies unpacked on this device."""

    name: str
    """`<version>-<first 12 digits of the digest>`: its folder in `releases/`."""
    version: str
    sha256: str
    rollback_index: int


def release_name(version: str, sha256: str) -> str:
    """The folder of a release; what a file name cannot hold becomes `_`."""
    return f"{_UNSAFE.sub('_', version)}-{sha256[:12]}"


@dataclass(frozen=True, slots=True)
class Layout:
    """The folders and files below one root."""

    root: Path

    @property
    def identity(self) -> Path:
        """The key and who we are; 0700."""
        return self.root / "identity"

    @property
    def trust(self) -> Path:
        """The server's certificate, the roots, the trust state and the last document."""
        return self.root / "trust"

    @property
    def journal(self) -> Path:
        """The step of the attempt under way, outcomes and reports not yet acknowledged."""
        return self.root / "journal"

    @property
    def known_bad(self) -> Path:
        """Packages that failed here."""
        return self.root / "known-bad"

    @property
    def contact(self) -> Path:
        """When the server last answered, for `status`."""
        return self.root / "contact"

    @property
    def downloads(self) -> Path:
        """Package files, whole or in part, by checksum."""
        return self.root / "downloads"

    @property
    def lock(self) -> Path:
        """Held by the one agent of this root."""
        return self.root / "locks" / "agent"

    @property
    def own(self) -> tuple[Path, ...]:
        """What the agent itself keeps below the root; the rest is free for packages."""
        files = (self.journal, self.known_bad, self.contact)
        folders = (self.identity, self.trust, self.downloads, self.lock.parent)
        return (*files, *folders, self.root / "components")

    def make(self) -> None:
        """Create the folders."""
        self.root.mkdir(parents=True, exist_ok=True)
        for folder in (self.identity, self.trust, self.trust / "root"):
            folder.mkdir(mode=0o700, exist_ok=True)
        for folder in (self.downloads, self.lock.parent, self.root / "components"):
            folder.mkdir(exist_ok=True)

    def download(self, sha256: str) -> Path:
        """The package file, once it is whole and verified."""
        return self.downloads / f"{sha256}.tar.gz"

    def component(self, name: str) -> Path:
        """A component's folder."""
        return self.root / "components" / name

    def saved(self, component: str) -> Path:
        """What was copied before an install."""
        return self.component(component) / "saved"

    def folder(self, component: str, release: str) -> Path:
        """A release's folder."""
        return self.component(component) / "releases" / release

    def note(self, component: str, release: str) -> Path:
        """What is known of a release; exists once the folder is whole."""
        return self.component(component) / "releases" / f"{release}.json"

    def components(self) -> tuple[str, ...]:
        """Every component that ever had a folder."""
        folder = self.root / "components"
        return tuple(sorted(p.name for p in folder.iterdir())) if folder.is_dir() else ()

    def releases(self, component: str) -> tuple[Release, ...]:
        """Every staged release of a component."""
        notes = sorted((self.component(component) / "releases").glob("*.json"))
        found = (self.release(component, note.name.removesuffix(".json")) for note in notes)
        return tuple(release for release in found if release is not None)

    def release(self, component: str, name: str) -> Release | None:
        """A staged release; None when it is not wholly there."""
        if not self.folder(component, name).is_dir():
            return None
        try:
            note = json.loads(self.note(component, name).read_bytes())
            return Release(name, note["version"], note["sha256"], note["rollbackIndex"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def current(self, component: str) -> Release | None:
        """What the component runs; None also when its note cannot be read."""
        name = self.current_name(component)
        return self.release(component, name) if name else None

    def previous(self, component: str) -> Release | None:
        """What it ran before; None also when its note cannot be read."""
        name = self.previous_name(component)
        return self.release(component, name) if name else None

    def current_name(self, component: str) -> str | None:
        """The release that `current` leads to: it runs, whatever became of its note."""
        return self._linked(component, "current")

    def previous_name(self, component: str) -> str | None:
        """The release that `previous` leads to."""
        return self._linked(component, "previous")

    def _linked(self, component: str, link: str) -> str | None:
        try:
            name = (self.component(component) / link).readlink().name
        except OSError:
            return None
        return name if self.folder(component, name).is_dir() else None

    def versions(self) -> dict[str, Installed]:
        """What every component runs now."""
        pairs = ((name, self.current(name)) for name in self.components())
        return {name: Installed(r.version, r.sha256) for name, r in pairs if r is not None}

    def write_note(self, component: str, release: Release) -> None:
        """Declare a release staged: its folder is whole."""
        document = {
            "version": release.version,
            "sha256": release.sha256,
            "rollbackIndex": release.rollback_index,
        }
        data = json.dumps(document).encode()
        durable.write_file(self.note(component, release.name), data, 0o644)

    def swap(self, component: str, current: str | None, previous: str | None) -> None:
        """Point `previous`, then `current`; doing it again changes nothing."""
        for link, name in (("previous", previous), ("current", current)):
            target = None if name is None else f"releases/{name}"
            durable.point(self.component(component) / link, target)

    def prune(self, component: str, kept: frozenset[str]) -> None:
        """Remove releases that are not in `kept`, the note first."""
        folder = self.component(component) / "releases"
        for path in folder.iterdir() if folder.is_dir() else ():
            if path.is_dir() and path.name not in kept:
                self.note(component, path.name).unlink(missing_ok=True)
                shutil.rmtree(path, ignore_errors=True)
