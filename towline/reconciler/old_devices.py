"""Old devices: what the contract's two calls offer them, and what their words come to.

Such a device reads no signed document. So the server reads it in its place: it checks the signed
statement, waits for the window and says of the device what an agent would say itself. A package
that is not to be trusted is never offered. How a device uses what it gets, nobody verifies.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Connection, Row

from towline.reconciler.documents import components_of
from towline.reconciler.ingest import commit_reports, may_move
from towline.reconciler.offer import Offer
from towline.reconciler.store import reading_old_devices as rows_of
from towline.schemas import statement
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.problems import Refused
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.root import Role
from towline.schemas.states import BUSY_TARGETS, TargetState
from towline.schemas.times import to_rfc3339
from towline.schemas.window_words import why_closed
from towline.schemas.windows import install_need_s, opening_if_known

FORMAT = "script"
"""An old device unpacks a .tar.gz and runs its install.sh."""
JOURNAL = "check-update"
WORDS = (*BUSY_TARGETS, TargetState.COMPLETED, TargetState.FAILED, TargetState.ROLLED_BACK)
"""What an old device may say of itself."""
_NOT_BEGUN = (TargetState.PENDING, TargetState.DOWNLOADING)


class StepRefused(Exception):
    """A word that the device's state does not allow; the text says why."""


class UnknownTarget(Exception):
    """The device has no part in that deployment."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a device is offered now, and what is to be told in its place."""

    offer: dict[str, Any] | None = None
    component: str = ""
    """What the offer, or the wait for its window, is for: its clock begins now."""
    attempts: tuple[Attempt, ...] = ()
    versions: Mapping[str, Installed] | None = None
    """What it completed before: that it is back and asks makes it verified."""

    @property
    def says_anything(self) -> bool:
        """True when there is something to be written."""
        return bool(self.attempts or self.versions)

    @property
    def may_be_granted(self) -> bool:
        """True when the next pass may give it leave to install, once this is told."""
        return any(attempt.reason == "Staged" for attempt in self.attempts)


def look(
    connection: Connection, device_seq: int, release: Role, packages_url: str, now: int
) -> Look:
    """What a device gets when it asks; `release` holds the keys that sign statements.

    Changes nothing: `tell` writes what is to be told.
    """
    device = rows_of.device_row(connection, device_seq)
    versions = rows_of.unverified(connection, device_seq)
    attempts: list[Attempt] = []
    for part in components_of(connection, {device_seq: packages_url})[device_seq]:
        if part.action is ComponentAction.KEEP:
            continue
        target = rows_of.target_of(connection, UUID(part.deployment), device_seq)
        if target is None or TargetState(target.status) not in _NOT_BEGUN:
            continue
        if said := _instead(part, target, device, release, now):
            attempts += said
            continue
        if part.action is not ComponentAction.PREPARE:
            waits = _waits(part, target, now)
            offer = None if waits is not None else _offer(part, target)
            return Look(offer, part.name, tuple(waits or ()), versions)
    return Look(None, "", tuple(attempts), versions)


def _instead(
    part: ComponentWanted, target: Row[Any], device: Row[Any], release: Role, now: int
) -> list[Attempt]:
    """What an agent would say before anything else: that it refuses the package, or is staged."""
    if refusal := _refusal(part, device, release):
        return [_attempt(part, TargetState.FAILED, *refusal)]
    if part.action is ComponentAction.PREPARE and target.staged_at is None:
        # It downloads after its grant only: there is nothing to wait for before it.
        return [_attempt(part, TargetState.PENDING, "Staged")]
    return []


def _refusal(part: ComponentWanted, device: Row[Any], release: Role) -> tuple[str, str] | None:
    """Reason and message where the package is not for the device; None: it may be offered."""
    try:
        word = statement.verify(part.statement, release)
    except Refused as refused:
        return "SignatureInvalid", f"the statement is not to be trusted: {refused}"
    problem = statement.misfit(
        word,
        organization=device.organization,
        component=part.name,
        version=part.version,
        sha256=part.sha256,
    )
    if problem:
        return "SignatureInvalid", problem
    if word.device_types and device.device_type not in word.device_types:
        return "SignatureInvalid", f"the package is not signed for {device.device_type}"
    if word.format != FORMAT:
        return "DownloadFailed", f"an old device takes packages of format script, not {word.format}"
    return None


def _waits(part: ComponentWanted, target: Row[Any], now: int) -> list[Attempt] | None:
    """None while it may begin; else what is to be told of the wait, nothing when it was told."""
    closed = _closed(part, now)
    if not closed:
        return None
    if target.waits == "WaitingForWindow" and target.error_message == closed:
        return []
    return [_attempt(part, TargetState.PENDING, "WaitingForWindow", closed)]


def _closed(part: ComponentWanted, now: int) -> str:
    """Why no install may begin now, and until when; empty: it may."""
    need_s = install_need_s(part.install_timeout_s, part.health)
    opens_at = opening_if_known(part.windows, now, part.time_zone, need_s)
    if opens_at == now:
        return ""
    try:
        why = why_closed(part.windows, now, part.time_zone) or "the window closes too soon"
    except ValueError as unknown_zone:
        why = str(unknown_zone)
    return why + (f", until {to_rfc3339(opens_at)}" if opens_at else "")


def _offer(part: ComponentWanted, target: Row[Any]) -> dict[str, Any]:
    return {
        "update_available": True,
        "deployment_id": part.deployment,
        "target_version": part.version,
        "update_package_url": part.urls[0],
        "checksum": f"sha256:{part.sha256}",
        "release_notes": target.metadata.get("release_notes", ""),
    }


def _attempt(part: ComponentWanted, state: TargetState, reason: str, message: str = "") -> Attempt:
    return Attempt(
        component=part.name,
        deployment=part.deployment,
        revision=part.revision,
        attempt=part.attempt,
        commit=part.commit,
        state=state,
        reason=reason,
        message=message,
    )


def tell(connection: Connection, device_seq: int, seen: Look, now: int) -> set[int]:
    """Take in what is to be told in the device's place; returns who is to be rung for."""
    return _report(connection, device_seq, seen.attempts, seen.versions or {}, now)


def step(
    connection: Connection, device_seq: int, run_id: UUID, word: TargetState, said: str, now: int
) -> set[int]:
    """Take in one word of an old device; returns who is to be rung for. A repeat changes nothing.

    Raises UnknownTarget, or StepRefused for a step that its state does not allow.
    """
    target = rows_of.target_of(connection, run_id, device_seq)
    if target is None:
        raise UnknownTarget
    before = TargetState(target.status)
    is_home_again = target.goes_back and before is TargetState.ROLLED_BACK
    if word is before or (is_home_again and word is TargetState.COMPLETED):
        return set()
    if target.granted_at is None and before is TargetState.PENDING and word in _BEGINNINGS:
        raise StepRefused(
            f"{word} is refused: the device has no leave to install this now; ask check-update"
        )
    if word is TargetState.INSTALLING and (
        closed := _closed_for(connection, device_seq, run_id, now)
    ):
        raise StepRefused(f"{word} is refused: {closed}; ask check-update")
    if not may_move(target, word):
        raise StepRefused(f"the device is {before} here already; {word} is no step from it")
    attempt = Attempt(
        component=target.component,
        deployment=str(run_id),
        revision=target.revision,
        attempt=target.attempt,
        commit=target.source_commit,
        state=word,
        reason=_reason(before, word),
        message=said,
    )
    versions: dict[str, Installed] = {}
    if word is TargetState.COMPLETED:
        versions[target.component] = _installed(target)
    return _report(connection, device_seq, (attempt,), versions, now)


def _closed_for(connection: Connection, device_seq: int, run_id: UUID, now: int) -> str:
    """A download may have outlasted its window: no install begins outside of it."""
    parts = components_of(connection, {device_seq: ""})[device_seq]
    mine = (_closed(part, now) for part in parts if part.deployment == str(run_id))
    return next(mine, "")


def _installed(target: Row[Any]) -> Installed:
    """What the device runs once it has completed what it was told."""
    if target.goes_back:
        return Installed(target.from_version, target.from_sha256)
    offer = Offer.parse(target.offer, target.target_version)
    release = offer.release(target.sha256, target.arm)
    assert release is not None
    return Installed(release.version, release.sha256)


_BEGINNINGS = (TargetState.DOWNLOADING, TargetState.INSTALLING)


def _reason(before: TargetState, word: TargetState) -> str:
    """Why, as far as the device's last step tells: nothing is changed before it installs."""
    match word:
        case TargetState.FAILED:
            return "DownloadFailed" if before in _NOT_BEGUN else "RollbackFailed"
        case TargetState.ROLLED_BACK:
            is_checked = before is TargetState.VERIFYING
            return "HealthCheckFailed" if is_checked else "InstallFailed"
    return ""


def _report(
    connection: Connection,
    device_seq: int,
    attempts: Sequence[Attempt],
    versions: Mapping[str, Installed],
    now: int,
) -> set[int]:
    """As reports of an agent, in a journal of their own."""
    state = rows_of.journal_of(connection, device_seq)
    number = state.report_seq if state.journal == JOURNAL else 0
    reports = [
        Report(JOURNAL, number + at, state.last_sequence, attempt, versions=dict(versions))
        for at, attempt in enumerate(attempts or (None,), 1)
    ]
    return commit_reports(connection, now, [(device_seq, report) for report in reports])
