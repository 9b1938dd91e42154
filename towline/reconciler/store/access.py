"""Which devices may speak: enrolment, join tokens and sessions.

Of every secret only the SHA-256 is kept. A join token is used up in one SQL statement, so that no
two devices share its last use; an id that is taken is never given to another key.
"""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from towline.reconciler.store import dirt
from towline.reconciler.store.labels import intern_labels, merged
from towline.reconciler.store.tables import (
    device_state,
    edge_devices,
    enrolments,
    join_tokens,
    sessions,
)
from towline.reconciler.store.targets import insert_ignoring
from towline.schemas.enrolment import EnrolmentRequest, secret_digest
from towline.schemas.identifiers import device_uuid, is_id
from towline.schemas.keys import PublicKey
from towline.schemas.problems import Refused

SESSION_LIFE_S = 3600
JOIN_TOKEN_LIFE_S = 3600
PENDING_LIFE_S = 24 * 3600
PENDING_LIMIT = 1000
PENDING_PER_SOURCE = 20


@dataclass(frozen=True, slots=True)
class GitDevice:
    """What a manifest of kind Device says of the device that enrols."""

    labels: Mapping[str, str]
    public_key: PublicKey | None
    is_revoked: bool = False


@dataclass(frozen=True, slots=True)
class Enrolled:
    """The device is known under its key."""

    device_seq: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Pending:
    """The request waits for a person, who compares the fingerprint."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device as its session needs it."""

    seq: int
    slug: str
    key: PublicKey | None
    is_revoked: bool


def fingerprint(key: PublicKey) -> str:
    """`7f3a-91c2-04be-aa10`: short enough to be read aloud."""
    digits = key.keyid[:16]
    return "-".join(digits[at : at + 4] for at in range(0, 16, 4))


def enrol(
    connection: Connection,
    request: EnrolmentRequest,
    *,
    git: GitDevice | None,
    join_token: str | None,
    source: str,
    now: int,
) -> Enrolled | Pending:
    """Answer an enrolment whose signature was verified: git, join token, else pending.

    Raises Refused `id-taken`, `revoked`, `join-token` or `too-many-pending`.
    """
    if not is_id(request.device_type):
        raise Refused("bad-field", "deviceType")
    if git is not None and git.is_revoked:
        raise Refused("revoked")
    known = find_device(connection, request.organization, request.device)
    if known is not None:
        return _again(known, request)
    if git is not None and git.public_key is not None:
        if git.public_key != request.public_key:
            raise Refused("id-taken", "git names another key for this id")
        return _insert_device(connection, request, git, {}, now)
    if join_token is not None:
        labels = _use_join_token(connection, request.organization, join_token, now)
        return _insert_device(connection, request, git, labels, now)
    return _note_pending(connection, request, source, now)


def _again(known: KnownDevice, request: EnrolmentRequest) -> Enrolled:
    if known.key != request.public_key:
        raise Refused("id-taken")
    if known.is_revoked:
        raise Refused("revoked")
    return Enrolled(known.seq, is_new=False)


def _insert_device(
    connection: Connection,
    request: EnrolmentRequest,
    git: GitDevice | None,
    join_labels: Mapping[str, str],
    now: int,
) -> Enrolled:
    git_labels = dict(git.labels) if git else {}
    label_set = intern_labels(connection, merged(git_labels, {}, join_labels))
    seq = connection.execute(
        insert(edge_devices)
        .values(
            id=device_uuid(request.organization, request.device),
            slug=request.device,
            organization=request.organization,
            device_type=request.device_type,
            label_set_id=label_set,
            labels_git=git_labels,
            labels_people={},
            labels_join=dict(join_labels),
            public_key=request.public_key.raw.hex(),
            state="active",
            created_at=now,
        )
        .returning(edge_devices.c.seq)
    ).scalar_one()
    connection.execute(insert(device_state).values(device_seq=seq, facts={}, last_seen=now))
    connection.execute(
        delete(enrolments).where(
            enrolments.c.organization == request.organization,
            enrolments.c.slug == request.device,
        )
    )
    dirt.mark_all(connection, request.organization)
    return Enrolled(seq, is_new=True)


def _use_join_token(
    connection: Connection, organization: str, token: str, now: int
) -> dict[str, str]:
    """Take one use of the token; returns its labels."""
    labels = connection.execute(
        update(join_tokens)
        .where(
            join_tokens.c.organization == organization,
            join_tokens.c.digest == secret_digest(token),
            join_tokens.c.uses_left > 0,
            join_tokens.c.expires_at > now,
        )
        .values(uses_left=join_tokens.c.uses_left - 1)
        .returning(join_tokens.c.labels)
    ).scalar_one_or_none()
    if labels is None:
        raise Refused("join-token", "unknown, used or expired; ask for a new join line")
    return dict(labels)


def _note_pending(
    connection: Connection, request: EnrolmentRequest, source: str, now: int
) -> Pending:
    connection.execute(delete(enrolments).where(enrolments.c.created_at < now - PENDING_LIFE_S))
    waiting = select(func.count()).select_from(enrolments)
    of_organization = waiting.where(enrolments.c.organization == request.organization)
    of_source = of_organization.where(enrolments.c.source == source)
    if (
        connection.execute(of_organization).scalar_one() >= PENDING_LIMIT
        or connection.execute(of_source).scalar_one() >= PENDING_PER_SOURCE
    ):
        raise Refused("too-many-pending", "approve or drop some of those that wait")
    connection.execute(
        insert_ignoring(connection, enrolments).values(
            organization=request.organization,
            slug=request.device,
            public_key=request.public_key.raw.hex(),
            device_type=request.device_type,
            source=source,
            created_at=now,
        )
    )
    return Pending(fingerprint(request.public_key))


def find_device(connection: Connection, organization: str, slug: str) -> KnownDevice | None:
    """The device of that id."""
    row = connection.execute(
        select(edge_devices).where(
            edge_devices.c.organization == organization, edge_devices.c.slug == slug
        )
    ).first()
    if row is None:
        return None
    key = PublicKey.from_hex(row.public_key) if row.public_key else None
    return KnownDevice(row.seq, row.slug, key, row.state == "revoked")


def create_join_token(
    connection: Connection,
    organization: str,
    *,
    labels: Mapping[str, str],
    max_uses: int,
    author: str,
    now: int,
) -> str:
    """A new join token, valid for one hour; only its digest is kept."""
    token = secrets.token_urlsafe(32)
    connection.execute(
        insert(join_tokens).values(
            organization=organization,
            digest=secret_digest(token),
            labels=dict(labels),
            max_uses=max_uses,
            uses_left=max_uses,
            author=author,
            created_at=now,
            expires_at=now + JOIN_TOKEN_LIFE_S,
        )
    )
    return token


def open_session(connection: Connection, device_seq: int, now: int) -> str:
    """A new bearer token; the device's former session ends."""
    token = secrets.token_urlsafe(32)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    values = {
        "digest": secret_digest(token),
        "opened_at": now,
        "expires_at": now + SESSION_LIFE_S,
    }
    connection.execute(
        dialect.insert(sessions)
        .values(device_seq=device_seq, **values)
        .on_conflict_do_update(index_elements=["device_seq"], set_=values)
    )
    return token


def end_revoked_sessions(connection: Connection) -> set[int]:
    """End the sessions of revoked devices; returns those devices."""
    revoked = select(edge_devices.c.seq).where(edge_devices.c.state == "revoked")
    ended = connection.execute(
        delete(sessions).where(sessions.c.device_seq.in_(revoked)).returning(sessions.c.device_seq)
    )
    return set(ended.scalars())
