"""Reads what a decision needs into one frozen snapshot, the time included."""

from dataclasses import dataclass, field

from towline.agent import locks
from towline.agent.attempt import AttemptRecord, KnownBad, Outcome, Waiting
from towline.agent.journal import JournalState
from towline.agent.layout import Layout, Release
from towline.schemas.desired_state import DesiredState


@dataclass(frozen=True, slots=True)
class ComponentSeen:
    """One component as it lies on the disk, and how its last attempt ended."""

    current: Release | None = None
    previous: Release | None = None
    staged: tuple[Release, ...] = ()
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The device and what is wanted of it."""

    document: DesiredState | None = None
    """The accepted document, while it is valid."""
    components: dict[str, ComponentSeen] = field(default_factory=dict)
    attempt: AttemptRecord | None = None
    known_bad: frozenset[KnownBad] = frozenset()
    versions_owed_after: int | None = None
    answer_age_s: float | None = None
    """Since the server last answered a poll; None when it has not since the start."""
    now: int = 0
    """Seconds since the epoch."""
    locks: tuple[str, ...] = ()
    """What holds installs on this device, in words."""
    waits: dict[str, Waiting] = field(default_factory=dict)
    """What was last told of each component's waiting."""

    def component(self, name: str) -> ComponentSeen:
        """A component; an empty one when the device never had it."""
        return self.components.get(name, ComponentSeen())


def observe(
    layout: Layout,
    journal: JournalState,
    document: DesiredState | None,
    known_bad: frozenset[KnownBad],
    answer_age_s: float | None,
    now: int,
) -> Snapshot:
    """The snapshot of this moment; reads the disk, changes nothing."""
    names = set(layout.components()) | set(journal.outcomes)
    return Snapshot(
        document=document,
        components={
            name: ComponentSeen(
                layout.current(name),
                layout.previous(name),
                layout.releases(name),
                journal.outcomes.get(name),
            )
            for name in sorted(names)
        },
        attempt=journal.attempt,
        known_bad=known_bad,
        versions_owed_after=journal.versions_owed_after,
        answer_age_s=answer_age_s,
        now=now,
        locks=locks.held(layout),
        waits=journal.waits,
    )
