"""Enrolment: by a key that git lists, by a join token, else by a person who compares fingerprints.

An id that is taken is never given to another key by the device's word alone: that becomes a request
to change the key, which waits for a person, too. Who waits is no device yet.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, delete, func, insert, select, update

from towline.reconciler.store import device_keys, dirt, join_tokens
from towline.reconciler.store.access import KnownDevice, find_device
from towline.reconciler.store.device_keys import DeviceState, KeyFrom, fingerprint
from towline.reconciler.store.git_devices import GitDevice
from towline.reconciler.store.labels import intern_labels, merged
from towline.reconciler.store.tables import device_state, edge_devices, enrolments
from towline.schemas.enrolment import EnrolmentRequest
from towline.schemas.identifiers import device_uuid, is_id
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

PENDING_LIFE_S = 24 * 3600
PENDING_LIMIT = 1000
PENDING_PER_SOURCE = 20


@dataclass(frozen=True, slots=True)
class Applicant:
    """Who asks to be known under an id, by a key that was proven."""

    organization: str
    slug: str
    key: PublicKey
    device_type: str
    labels: Mapping[str, str]
    """Those of its join token."""


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The device is known under its key."""

    device_seq: int
    is_new: bool
    is_key_changed: bool = False


@dataclass(frozen=True, slots=True)
class Pending:
    """The request waits for a person, who compares the fingerprint."""

    fingerprint: str
    is_new: bool
    """It is asked for the first time."""
    is_key_change: bool
    """The id is that of a device with another key."""


def enrol(
    connection: Connection,
    request: EnrolmentRequest,
    *,
    git: GitDevice | None,
    join_token: str | None,
    source: str,
    now: int,
) -> Enrolled | Pending:
    """Answer an enrolment whose signature was verified.

    Raises Refused `id-taken`, `revoked`, `duplicate-identity`, `join-token`, `unknown-join-token`
    or `too-many-pending`.
    """
    if not is_id(request.device_type):
        raise Refused("bad-field", "deviceType")
    if git is not None and git.is_revoked:
        raise Refused("revoked")
    key = request.public_key
    who = Applicant(request.organization, request.device, key, request.device_type, {})
    known = find_device(connection, who.organization, who.slug)
    if known is not None and known.key == who.key:
        known.demand_active()
        return Enrolled(known.seq, is_new=False)
    _demand_free(known, who, git)
    if git is not None and git.public_key is not None:
        return admit(connection, who, known, git, KeyFrom.GIT, now)
    if known is not None:
        return _note_pending(connection, who, source, now, is_key_change=True)
    if join_token is not None:
        return _join(connection, who, git, join_token, source, now)
    return _note_pending(connection, who, source, now, is_key_change=False)


def _join(
    connection: Connection,
    who: Applicant,
    git: GitDevice | None,
    join_token: str,
    source: str,
    now: int,
) -> Enrolled | Pending:
    """Let in, or to the door, who brings a join token; whoever is refused has used nothing up."""
    waits_with = _waits_with(connection, who, now)
    with connection.begin_nested():
        joined = join_tokens.use(
            connection, who.organization, join_token, now, waits_with=waits_with
        )
        who = replace(who, labels=joined.labels)
        if joined.to_pending:
            return _note_pending(connection, who, source, now, is_key_change=False)
        return admit(connection, who, None, git, KeyFrom.JOIN, now)


def _demand_free(known: KnownDevice | None, who: Applicant, git: GitDevice | None) -> None:
    """Raises Refused where not even a person can give the id to the key."""
    if git is not None and git.public_key not in (None, who.key):
        raise Refused("id-taken", "git names another key for this id")
    if known is not None and known.is_purged:
        raise Refused("id-taken", "the device of this id was purged; ids are not used twice")
    if known is not None and known.is_old:
        raise Refused("id-taken", "an old device has this id, and a token instead of a key")


def admit(
    connection: Connection,
    who: Applicant,
    known: KnownDevice | None,
    git: GitDevice | None,
    key_from: KeyFrom,
    now: int,
) -> Enrolled:
    """Make the device known under its key; nobody else who asked for the id waits any more."""
    connection.execute(
        delete(enrolments).where(
            enrolments.c.organization == who.organization, enrolments.c.slug == who.slug
        )
    )
    if known is None:
        seq = _insert(connection, who, git, key_from, now)
        dirt.mark_all(connection, who.organization)
        return Enrolled(seq, is_new=True)
    values = device_keys.admitted(who.key, key_from) | {"device_type": who.device_type}
    if known.state is DeviceState.DELETED:
        values |= _labels(connection, who, git)
    device_keys.set_admission(connection, who.organization, known.seq, values)
    return Enrolled(known.seq, is_new=False, is_key_changed=True)


def _labels(connection: Connection, who: Applicant, git: GitDevice | None) -> dict[str, Any]:
    git_labels = dict(git.labels) if git else {}
    return {
        "label_set_id": intern_labels(connection, merged(git_labels, {}, who.labels)),
        "labels_git": git_labels,
        "labels_people": {},
        "labels_join": dict(who.labels),
    }


def _insert(
    connection: Connection, who: Applicant, git: GitDevice | None, key_from: KeyFrom, now: int
) -> int:
    seq: int = connection.execute(
        insert(edge_devices)
        .values(
            id=device_uuid(who.organization, who.slug),
            slug=who.slug,
            organization=who.organization,
            device_type=who.device_type,
            created_at=now,
            **_labels(connection, who, git),
            **device_keys.admitted(who.key, key_from),
        )
        .returning(edge_devices.c.seq)
    ).scalar_one()
    connection.execute(insert(device_state).values(device_seq=seq, facts={}, last_seen=now))
    return seq


def _waits_with(connection: Connection, who: Applicant, now: int) -> Mapping[str, str] | None:
    """The labels of the same request where it was noted and is not over; else None."""
    found = connection.execute(select(enrolments.c.labels).where(*_is_same(who, now))).first()
    return None if found is None else dict(found.labels)


def _is_same(who: Applicant, now: int) -> tuple[ColumnElement[bool], ...]:
    return (
        enrolments.c.organization == who.organization,
        enrolments.c.slug == who.slug,
        enrolments.c.public_key == who.key.raw.hex(),
        enrolments.c.created_at > now - PENDING_LIFE_S,
    )


def _note_pending(
    connection: Connection, who: Applicant, source: str, now: int, *, is_key_change: bool
) -> Pending:
    if (noted := _waits_with(connection, who, now)) is not None:
        if who.labels and who.labels != noted:  # by a token that came later
            labels = dict(who.labels)
            connection.execute(update(enrolments).where(*_is_same(who, now)).values(labels=labels))
        return Pending(fingerprint(who.key), is_new=False, is_key_change=is_key_change)
    of_organization = enrolments.c.organization == who.organization
    is_over = enrolments.c.created_at <= now - PENDING_LIFE_S
    connection.execute(delete(enrolments).where(of_organization, is_over))
    is_same_source = enrolments.c.source == source
    waiting, of_source = connection.execute(
        select(func.count(), func.count().filter(is_same_source)).where(of_organization)
    ).one()
    if waiting >= PENDING_LIMIT or of_source >= PENDING_PER_SOURCE:
        raise Refused("too-many-pending", "approve or deny some of those that wait")
    connection.execute(
        insert(enrolments).values(
            organization=who.organization,
            slug=who.slug,
            public_key=who.key.raw.hex(),
            device_type=who.device_type,
            labels=dict(who.labels),
            source=source[:64],
            created_at=now,
        )
    )
    return Pending(fingerprint(who.key), is_new=True, is_key_change=is_key_change)
