"""Labels: interned sets, merged from git, people and the join token, in this order of rank."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, Connection, Select, exists, insert, select, update

from towline.reconciler.store import dirt, outbox
from towline.reconciler.store.tables import edge_devices, label_sets
from towline.schemas import strict_json


def intern_labels(connection: Connection, labels: Mapping[str, str]) -> int:
    """The id of a label set."""
    digest = hashlib.sha256(strict_json.canonical(dict(labels))).hexdigest()
    known = connection.execute(
        select(label_sets.c.id).where(label_sets.c.digest == digest)
    ).scalar_one_or_none()
    if known is not None:
        return int(known)
    # Writers take turns: nobody else adds it meanwhile.
    statement = insert(label_sets).returning(label_sets.c.id)
    return int(
        connection.execute(statement, {"digest": digest, "labels": dict(labels)}).scalar_one()
    )


def label_sets_of(
    connection: Connection, organization: str, is_owned: ColumnElement[bool]
) -> list[dict[str, str]]:
    """The distinct labels of some devices; `is_owned` is a condition over `edge_devices`."""
    has_one = exists(
        select(edge_devices.c.seq).where(
            edge_devices.c.label_set_id == label_sets.c.id,
            edge_devices.c.organization == organization,
            is_owned,
        )
    )
    return list(connection.execute(select(label_sets.c.labels).where(has_one)).scalars())


def sets_with(labels: Mapping[str, str | None]) -> Select[tuple[int]]:
    """The ids of the sets with all of these; None: whatever its value.

    There are far fewer sets of labels than devices.
    """
    value_of = label_sets.c.labels
    return select(label_sets.c.id).where(
        *(
            value_of[key].as_string().is_not(None)
            if value is None
            else value_of[key].as_string() == value
            for key, value in labels.items()
        )
    )


def merged(
    git: Mapping[str, str], people: Mapping[str, str], join: Mapping[str, str]
) -> dict[str, str]:
    """What counts: git over people over the join token."""
    return {**join, **people, **git}


@dataclass(frozen=True, slots=True)
class LabelSources:
    """A device's labels by who gave them; `in_force` is what counts."""

    seq: int
    git: Mapping[str, str]
    people: Mapping[str, str]
    join: Mapping[str, str]

    @property
    def in_force(self) -> dict[str, str]:
        """Git over people over the join token."""
        return merged(self.git, self.people, self.join)


def sources_of(connection: Connection, organization: str, slug: str) -> LabelSources | None:
    """Who gave which label of a device; None when the organization has no such device."""
    row = connection.execute(
        select(edge_devices).where(
            edge_devices.c.organization == organization, edge_devices.c.slug == slug
        )
    ).first()
    if row is None:
        return None
    return LabelSources(row.seq, row.labels_git, row.labels_people, row.labels_join)


def set_from_people(
    connection: Connection, organization: str, before: LabelSources, labels: Mapping[str, str]
) -> bool:
    """Replace the labels that people gave a device; True when what counts has changed.

    Every Deployment is looked at again, and who it still owns is asked anew, as after a commit.
    """
    after = replace(before, people=dict(labels))
    connection.execute(
        update(edge_devices)
        .where(edge_devices.c.seq == before.seq)
        .values(labels_people=dict(labels), label_set_id=intern_labels(connection, after.in_force))
    )
    if after.in_force == before.in_force:
        return False
    dirt.ask_owners_anew(connection, organization)
    outbox.ring(connection, {before.seq})
    return True
