"""A head of the branch that was read and is not in force yet."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from towline.manifests.load import Loaded
from towline.reconciler.head import CommitSeen
from towline.reconciler.head_reading import HeadRead
from towline.reconciler.store.events import Event


@dataclass(frozen=True, slots=True)
class Candidate:
    """A head that was read and not yet judged."""

    commit: CommitSeen
    read: HeadRead

    @property
    def loaded(self) -> Loaded:
        """What its manifests say."""
        return self.read.loaded

    def events(self) -> list[Event]:
        """What its coming into force tells."""
        applied = Event("commit.applied", message=self.commit.subject)
        broken = [
            Event("manifest.broken", error.name, message=str(error)) for error in self.loaded.errors
        ]
        return self.as_its_doing([applied, *broken])

    def as_its_doing(self, events: Iterable[Event]) -> list[Event]:
        """The same events, with the commit as their cause."""
        cause = f"commit {self.commit.sha[:12]} by {self.commit.author}"
        return [replace(event, cause=cause, commit=self.commit.sha) for event in events]

    def keeps_device(self, name: str) -> bool:
        """A Device manifest that is broken, or may lie in an unreadable file, is no removal."""
        if name in self.loaded.devices:
            return False
        return name in self.loaded.broken_devices or bool(self.loaded.unreadable)

    def wanted(self, files: Mapping[str, str]) -> set[str]:
        """The names of Deployments that it wants; `files` are of those in force.

        A broken file is never a removal.
        """
        unread = {name for name, file in files.items() if file in self.loaded.unreadable}
        return {*self.loaded.deployments, *self.loaded.broken, *unread}
