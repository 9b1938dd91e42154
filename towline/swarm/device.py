"""What a simulated device knows and has: journal, trust and releases, as an agent has on its disk.

No I/O. The agent's own `decide` judges the snapshot; whoever performs its actions is `playing`.
"""

import secrets
import time
from dataclasses import dataclass, field, replace

import towline
from towline.agent.attempt import KnownBad, Outcome
from towline.agent.journal import JournalState, report
from towline.agent.layout import Release
from towline.agent.observe import ComponentSeen, Snapshot
from towline.agent.outcome import told
from towline.schemas import reports, verifier
from towline.schemas.desired_state import DesiredState
from towline.schemas.keys import PrivateKey
from towline.schemas.reports import Installed
from towline.schemas.root import Root
from towline.schemas.verifier import Clock, DeviceIdentity, TrustState

FACTS = {
    "agent": towline.__version__,
    "system": "Linux",
    "kernel": "simulated",
    "architecture": "aarch64",
    "python": "3.11",
    "timeZone": "UTC",
    "freeBytes": 8 * 1024**3,
}


@dataclass(slots=True)
class Device:
    """One simulated device."""

    number: int
    """From 1; the same seed and number fare alike."""
    id: str
    organization: str
    device_type: str
    key: PrivateKey = field(default_factory=PrivateKey.generate)
    journal: JournalState = field(
        default_factory=lambda: JournalState(journal=secrets.token_urlsafe(16))
    )
    trust: TrustState = field(default_factory=TrustState)
    document: DesiredState | None = None
    """The last one that was accepted."""
    etag: str = ""
    rollback_indexes: dict[str, int] = field(default_factory=dict)
    """What the accepted document's statements say, by component."""
    components: dict[str, ComponentSeen] = field(default_factory=dict)
    known_bad: frozenset[KnownBad] = frozenset()
    answered_at: float | None = None
    """Of the monotonic clock: when a poll was last answered."""

    def identity(self) -> DeviceIdentity:
        """What a document must be addressed to."""
        keyid = self.key.public.keyid
        return DeviceIdentity(self.organization, self.id, keyid, self.device_type)

    def snapshot(self) -> Snapshot:
        """The device as it is now; a document that has expired is none."""
        now, document = int(time.time()), self.document
        answered = self.answered_at
        return Snapshot(
            document=document if document is not None and document.expires > now else None,
            components={
                name: replace(seen, outcome=self.journal.outcomes.get(name))
                for name, seen in self.components.items()
            },
            attempt=self.journal.attempt,
            known_bad=self.known_bad,
            versions_owed_after=self.journal.versions_owed_after,
            answer_age_s=None if answered is None else time.monotonic() - answered,
            now=now,
            waits=self.journal.waits,
        )

    def accept(self, data: bytes, root: Root, nonce: str, etag: str) -> bool:
        """Take a document if all of it is true; True when it is another. Raises Refused."""
        accepted = verifier.verify(
            data,
            root=root,
            identity=self.identity(),
            trust=self.trust,
            nonce=nonce,
            clock=Clock(int(time.time()), is_synchronised=True),
        )
        self.trust, self.document = accepted.trust, accepted.document
        self.rollback_indexes = {
            name: statement.rollback_index for name, statement in accepted.statements.items()
        }
        if self.journal.refused:
            self.journal = replace(self.journal, refused="")
        is_new, self.etag = etag != self.etag, etag
        return is_new

    def refuse(self, code: str) -> None:
        """Say once for each code that a document is not believed."""
        if self.journal.refused != code:
            self.tell(rejected=code)
            self.journal = replace(self.journal, refused=code)

    def component(self, name: str) -> ComponentSeen:
        """A component; an empty one when the device never had it."""
        return self.components.get(name, ComponentSeen())

    def stage(self, name: str, release: Release) -> None:
        """A release lies unpacked beside what runs."""
        seen = self.component(name)
        staged = tuple(each for each in seen.staged if each.sha256 != release.sha256)
        self.components[name] = replace(seen, staged=(*staged, release))

    def run(self, name: str, release: Release) -> None:
        """A release is in its place and healthy; the former one is kept."""
        seen = self.component(name)
        previous = seen.previous if seen.current == release else seen.current
        kept = tuple(each for each in (release, previous) if each is not None)
        self.components[name] = ComponentSeen(release, previous, kept)
        indexes = self.trust.rollback_indexes
        if release.rollback_index > indexes.get(name, 0):
            raised = indexes | {name: release.rollback_index}
            self.trust = replace(self.trust, rollback_indexes=raised)

    def versions(self) -> dict[str, Installed]:
        """What runs."""
        return {
            name: Installed(seen.current.version, seen.current.sha256)
            for name, seen in self.components.items()
            if seen.current is not None
        }

    def tell(self, outcome: Outcome | None = None, *, rejected: str = "") -> None:
        """Put a report into the outbox: of a step or an end, of a refusal, or of what runs."""
        attempt: reports.Attempt | None = None if outcome is None else told(outcome)
        self.journal = self.journal.with_report(
            report(
                self.trust.sequence,
                self.versions(),
                facts=FACTS,
                attempt=attempt,
                rejected=rejected,
            )
        )
