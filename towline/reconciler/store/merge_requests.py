"""Deployments made by the API that wait until git wants them: their rows, by the run's id to come.

A row vanishes when its run begins; until then it stands for it in what people read.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    exists,
    insert,
    select,
    update,
)

from towline.reconciler.store.tables import merge_requests, runs
from towline.schemas.states import RunState


def keep(connection: Connection, values: dict[str, Any]) -> None:
    """Insert a row, in place of one of that id which was cancelled."""
    forget(connection, values["organization"], values["id"])
    connection.execute(insert(merge_requests), values)


def forget(connection: Connection, organization: str, run_id: UUID) -> None:
    """The run is there, or the row is in the way."""
    connection.execute(delete(merge_requests).where(_is(organization, run_id)))


def waiting(
    connection: Connection, organization: str, name: str | None = None
) -> Sequence[Row[Any]]:
    """The rows whose run has not begun, newest first."""
    has_begun = exists().where(
        runs.c.id == merge_requests.c.id, runs.c.organization == merge_requests.c.organization
    )
    where = [merge_requests.c.organization == organization, ~has_begun]
    if name is not None:
        where.append(merge_requests.c.name == name)
    order = (merge_requests.c.created_at.desc(), merge_requests.c.id)
    return connection.execute(select(merge_requests).where(*where).order_by(*order)).all()


def find(connection: Connection, organization: str, text: str) -> Row[Any] | None:
    """The one of that UUID, or the newest of the Deployment of that name."""
    wanted = text.lower()
    rows = waiting(connection, organization)
    return next((row for row in rows if wanted in (str(row.id), row.name)), None)


def cancel(connection: Connection, organization: str, run_id: UUID) -> None:
    """Nobody waits for it any more."""
    connection.execute(
        update(merge_requests)
        .where(_is(organization, run_id))
        .values(status=RunState.CANCELLED.value)
    )


def _is(organization: str, run_id: UUID) -> ColumnElement[bool]:
    return and_(merge_requests.c.organization == organization, merge_requests.c.id == run_id)
