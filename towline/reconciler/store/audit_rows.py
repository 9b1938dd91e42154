"""Rows of the audit: each is put at the end of its organization's chain, and is read as one act."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Connection, bindparam, insert, select

from towline.reconciler.store.tables import audit
from towline.schemas import audit_chain, times

_LAST = (
    select(audit.c.number, audit.c.hash)
    .where(audit.c.organization == bindparam("organization"))
    .order_by(audit.c.id.desc())
    .limit(1)
)


class End(NamedTuple):
    """The newest act of an organization."""

    number: int
    """How many there are."""
    hash: str


def end(connection: Connection, organization: str) -> End:
    """Where the chain of the organization ends."""
    row = connection.execute(_LAST, {"organization": organization}).first()
    return End(row.number, row.hash) if row is not None else End(0, audit_chain.BEGIN)


def append(connection: Connection, values: Mapping[str, Any]) -> None:
    """Keep an act; writers take turns, so nobody else appends meanwhile."""
    organization = values["organization"]
    last = end(connection, organization)
    row = {**values, "number": last.number + 1, "previous": last.hash}
    connection.execute(insert(audit), {**row, "hash": audit_chain.digest(_told(row), organization)})


def document(row: Mapping[str, Any], device_id: str | None) -> dict[str, Any]:
    """An act as the API shows it; `device_id` is what the device is called now."""
    return {"id": row["id"], **_told(row), "hash": row["hash"], "device_id": device_id}


def _told(row: Mapping[str, Any]) -> dict[str, Any]:
    """What the hash is of; a new key here would change the hashes of old acts."""
    return {
        "number": row["number"],
        "at": times.to_rfc3339(row["at"]),
        "person": row["person"],
        "token": row["token_id"],
        "role": row["role"],
        "action": row["action"],
        "deployment": row["deployment"],
        "device": row["device"],
        "object": row["object"],
        "detail": orjson.loads(row["detail"]),
        "result": row["result"],
        "request": row["request"],
        "previous": row["previous"],
    }
