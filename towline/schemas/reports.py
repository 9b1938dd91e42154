"""What a device says of itself: a step of an attempt, a refusal, or just facts and versions.

A report is acknowledged only after it is committed. `report_seq` grows within a journal; an old
number is acknowledged and dropped, so that a report may be sent again without harm.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from towline.schemas import fields
from towline.schemas.identifiers import is_id
from towline.schemas.problems import Refused
from towline.schemas.states import TargetState

REPORTS_LIMIT = 64
REPORTED_STATES = frozenset(TargetState) - {TargetState.SKIPPED}
MESSAGE_LIMIT = 2000
WORD_LIMIT = 50


class Installed(NamedTuple):
    """What a component of the device runs now."""

    version: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which step of which attempt a report speaks of."""

    component: str
    deployment: str
    revision: str
    attempt: int
    commit: str
    state: TargetState
    reason: str = ""
    """One CamelCase word."""
    message: str = ""
    """For people, at most 2,000 characters."""
    progress: int | None = None
    """Percent of the download."""


class Heard(NamedTuple):
    """Up to where a server has heard a device: it only grows, unless something is forgotten."""

    journals: int
    """How many journals were begun, and one that is come back to is begun anew."""
    report_seq: int


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What the server acknowledged before, by its own receipt."""

    heard: Heard
    at: int
    """Seconds since the epoch."""


@dataclass(slots=True)
class Report:
    """One report.

    Not frozen: a server makes thousands in a second, and each would cost more than twice as much.
    """

    journal: str
    report_seq: int
    last_sequence: int
    attempt: Attempt | None = None
    rejected: str = ""
    """The code of a refused document."""
    facts: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, Installed] = field(default_factory=dict)
    """Every component that the device runs, at the time of this report."""
    acknowledged: Acknowledged | None = None
    """It comes beside the report, and is none of the device's own words."""

    def document(self) -> dict[str, Any]:
        """The report as JSON carries it."""
        attempt = self.attempt
        return {
            "journal": self.journal,
            "reportSeq": self.report_seq,
            "lastSequence": self.last_sequence,
            "component": attempt.component if attempt else None,
            "deployment": attempt.deployment if attempt else None,
            "revision": attempt.revision if attempt else None,
            "attempt": attempt.attempt if attempt else None,
            "commit": attempt.commit if attempt else None,
            "state": attempt.state.value if attempt else None,
            "reason": attempt.reason if attempt else None,
            "message": attempt.message if attempt else None,
            "progress": attempt.progress if attempt else None,
            "rejected": self.rejected or None,
            "facts": self.facts,
            "versions": {
                name: {"version": installed.version, "sha256": installed.sha256}
                for name, installed in self.versions.items()
            },
        }


def parse(document: Any) -> Report:
    """A report from its JSON object; raises Refused `bad-field` with the field's name."""
    if not isinstance(document, dict):
        raise Refused("bad-field", "report")
    return Report(
        journal=fields.text(document, "journal", limit=64),
        report_seq=fields.whole(document, "reportSeq", least=1),
        last_sequence=fields.whole(document, "lastSequence"),
        attempt=_attempt(document) if document.get("state") is not None else None,
        rejected=fields.optional_text(document, "rejected", limit=WORD_LIMIT) or "",
        facts=fields.storable(document, "facts"),
        versions=_versions(fields.mapping(document, "versions")),
    )


def parse_many(document: Any) -> tuple[Report, ...]:
    """One report or a list of at most 64."""
    documents = document if isinstance(document, list) else [document]
    if len(documents) > REPORTS_LIMIT:
        raise Refused("too-many-reports", str(len(documents)))
    return tuple(parse(entry) for entry in documents)


def _attempt(document: Mapping[str, Any]) -> Attempt:
    try:
        state = TargetState(fields.text(document, "state"))
    except ValueError:
        raise Refused("bad-field", "state") from None
    if state not in REPORTED_STATES:
        raise Refused("bad-field", "state")
    progress = document.get("progress")
    return Attempt(
        component=fields.identifier(document, "component"),
        deployment=fields.text(document, "deployment", limit=64),
        revision=fields.digest(document, "revision"),
        attempt=fields.whole(document, "attempt", least=1, most=fields.MOST_32),
        commit=fields.text(document, "commit", limit=64),
        state=state,
        reason=fields.optional_text(document, "reason", limit=WORD_LIMIT) or "",
        message=fields.optional_text(document, "message", limit=MESSAGE_LIMIT) or "",
        progress=None
        if progress is None
        else fields.whole(document, "progress", most=fields.MOST_32),
    )


def _versions(document: Mapping[str, Any]) -> dict[str, Installed]:
    versions = {}
    for name in document:
        if not is_id(name):
            raise Refused("bad-field", "versions")
        entry = fields.mapping(document, name)
        versions[name] = Installed(
            fields.text(entry, "version", limit=100), fields.digest(entry, "sha256")
        )
    return versions
