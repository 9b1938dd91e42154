"""The devices that a commit can change, whatever it says: far fewer than there are.

They are those that git names, and those that bear what it said before. The latter are found by an
index of their own. All come in parts, so that no fleet fills the memory.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Column,
    Connection,
    Row,
    Select,
    Text,
    bindparam,
    func,
    literal,
    select,
    true,
)

from towline.reconciler.store import hints
from towline.reconciler.store.among import among
from towline.reconciler.store.tables import edge_devices
from towline.reconciler.store.tables_fleet import BEARS_WORDS_OF_GIT

AT_ONCE = 5000
"""Devices of one part."""
Part = Sequence[Row[Any]]
_COLUMNS: tuple[Column[Any], ...] = (
    edge_devices.c.seq,
    edge_devices.c.slug,
    edge_devices.c.labels_git,
    edge_devices.c.labels_people,
    edge_devices.c.labels_join,
    edge_devices.c.public_key,
    edge_devices.c.key_from,
    edge_devices.c.state,
    edge_devices.c.revoked_in_git,
    edge_devices.c.revoked_at,
    edge_devices.c.duplicate_at,
    edge_devices.c.deleted_at,
)
_OF_ORGANIZATION = select(*_COLUMNS).where(
    edge_devices.c.organization == bindparam("of_organization")
)
_THERE = _OF_ORGANIZATION.where(edge_devices.c.state != "deleted")
_BEARING = hints.by(
    "ix_edge_devices_words_of_git",
    _OF_ORGANIZATION.where(BEARS_WORDS_OF_GIT, edge_devices.c.seq > bindparam("after"))
    .order_by(edge_devices.c.seq)
    .limit(bindparam("most")),
    edge_devices,
)


def bearing(connection: Connection, organization: str) -> Iterator[Part]:
    """All that would be changed by a commit that names none of them."""
    after = 0
    while True:
        asked = {"of_organization": organization, "after": after, "most": AT_ONCE}
        part = connection.execute(_BEARING, asked).all()
        if part:
            yield part
        if len(part) < AT_ONCE:
            return
        after = part[-1].seq


def named(connection: Connection, organization: str, names: Sequence[str]) -> Iterator[Part]:
    """Those of these names that are there."""
    for at in range(0, len(names), AT_ONCE):
        those = _of_names(connection, names[at : at + AT_ONCE])
        yield connection.execute(those, {"of_organization": organization}).all()


def _of_names(connection: Connection, names: Sequence[str]) -> Select[Any]:
    slug = edge_devices.c.slug
    if connection.dialect.name != "postgresql":
        each = func.json_each(json.dumps(names)).table_valued("value")
        return _THERE.where(slug.in_(select(each.c.value)))
    # One by one, and none of them by "=": it would look for the parts of each name, by the index of
    # those, as soon as it takes that for cheaper, and for thousands of names that takes minutes.
    each = func.unnest(literal(list(names), ARRAY(Text))).table_valued("value").render_derived()
    one = _THERE.where(slug.between(each.c.value, each.c.value)).limit(1).lateral()
    return select(*one.c).select_from(each.join(one, true()))


def numbered(connection: Connection, organization: str, seqs: Sequence[int]) -> Iterator[Part]:
    """Those of these numbers that are there and the organization's, in the order of the numbers."""
    for at in range(0, len(seqs), AT_ONCE):
        those = _THERE.where(among(connection, edge_devices.c.seq, seqs[at : at + AT_ONCE]))
        in_order = hints.by_number(those.order_by(edge_devices.c.seq), edge_devices)
        yield connection.execute(in_order, {"of_organization": organization}).all()
