"""What the device must not forget: the attempt under way, outcomes, reports not yet acknowledged.

One file, replaced as a whole: a step and the report that tells of it are one write, so that what is
reported is what happened. Whoever changes it passes the whole new state.
"""

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from towline.agent import durable
from towline.agent.attempt import AttemptRecord, Outcome, Waiting, known_fields
from towline.schemas import reports
from towline.schemas.reports import Installed, Report

OUTBOX_LIMIT = 500
"""Reports kept while the server is away; the oldest without an outcome go first."""


@dataclass(frozen=True, slots=True)
class JournalState:
    """Everything in the journal."""

    journal: str
    """Names this journal; `report_seq` grows within it."""
    report_seq: int = 0
    outbox: tuple[dict[str, Any], ...] = ()
    """Reports as they will be sent, oldest first."""
    attempt: AttemptRecord | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    """The last outcome by component."""
    waits: dict[str, Waiting] = field(default_factory=dict)
    """The last wait that was reported, by component; none once it goes on."""
    downloads: int = 0
    """Packages whose download was begun, ever."""
    versions_owed_after: int | None = None
    """The document's sequence when a completion was reported: the next one owes a report."""
    refused: str = ""
    """The code of the last document if it was refused."""
    facts: dict[str, Any] = field(default_factory=dict)
    """As last reported."""
    receipt: str = ""
    """The server's word of what it acknowledged last: sent back to it, and never read here."""

    @property
    def acknowledged_seq(self) -> int:
        """Up to which number nothing waits any more."""
        return min((report["reportSeq"] for report in self.outbox), default=self.report_seq + 1) - 1

    def with_report(self, report: Report) -> "JournalState":
        """With one more report to send; it gets the next number.

        Of reports that tell of no attempt only the newest of a kind is kept.
        """
        document = replace(report, journal=self.journal, report_seq=self.report_seq + 1).document()
        outbox = [
            waiting
            for waiting in self.outbox
            if waiting["state"] is not None
            or bool(waiting["rejected"]) is not bool(document["rejected"])
            or document["state"] is not None
        ]
        outbox.append(document)
        while len(outbox) > OUTBOX_LIMIT:
            outbox.remove(next((r for r in outbox if not _is_outcome(r)), outbox[0]))
        return replace(self, report_seq=self.report_seq + 1, outbox=tuple(outbox))

    def acknowledged(self, report_seq: int) -> "JournalState":
        """Without the reports up to that number."""
        left = tuple(report for report in self.outbox if report["reportSeq"] > report_seq)
        return replace(self, outbox=left)


def _is_outcome(document: Mapping[str, Any]) -> bool:
    return document["state"] in ("completed", "failed", "rolled_back")


def report(
    last_sequence: int,
    versions: dict[str, Installed],
    *,
    facts: dict[str, Any],
    attempt: reports.Attempt | None = None,
    rejected: str = "",
) -> Report:
    """A report for `with_report`, which gives it its journal and number."""
    return Report(
        journal="",
        report_seq=1,
        last_sequence=last_sequence,
        attempt=attempt,
        rejected=rejected,
        facts=facts,
        versions=versions,
    )


class Journal:
    """The journal's file; `state` is what is durable."""

    def __init__(self, path: Path) -> None:
        self._path = path
        found = read(path)
        if found is None and path.exists():
            # Renames are atomic, so this is a broken disk; the links still tell what runs.
            path.replace(path.with_name(f"{path.name}.broken"))
        self.state = found or JournalState(journal=secrets.token_urlsafe(16))
        if found is None:
            self.write(self.state)

    def write(self, state: JournalState) -> None:
        """Replace the journal; durable when it returns."""
        durable.write_file(self._path, json.dumps(asdict(state), indent=1).encode())
        self.state = state


def read(path: Path) -> JournalState | None:
    """The journal as it lies there; None when there is none or it cannot be read."""
    try:
        document = json.loads(path.read_bytes())
        attempt = document["attempt"]
        return JournalState(
            **known_fields(JournalState, document)
            | {
                "outbox": tuple(document["outbox"]),
                "attempt": None if attempt is None else AttemptRecord.parse(attempt),
                "outcomes": {
                    name: Outcome.parse(outcome) for name, outcome in document["outcomes"].items()
                },
                "waits": {
                    name: Waiting(**known_fields(Waiting, waiting))
                    for name, waiting in document.get("waits", {}).items()
                },
            }
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
