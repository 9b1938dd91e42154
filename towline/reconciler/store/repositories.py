"""What the store knows of the fleet repository: the commit in force, holds, errors, manifests."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from towline.reconciler.store.remembered import remembered
from towline.reconciler.store.tables import manifests, organizations, repositories
from towline.reconciler.store.ties import OF_ALL
from towline.reconciler.store.upserts import insert_ignoring
from towline.schemas.identifiers import organization_uuid


def ensure(
    connection: Connection, organization: str, url: str, branch: str, path: str, now: int
) -> None:
    """The rows of the organization and its repository, which may have moved."""
    connection.execute(
        insert_ignoring(connection, organizations).values(
            id=organization_uuid(organization), name=organization, created_at=now
        )
    )
    connection.execute(
        insert_ignoring(connection, repositories).values(
            organization=organization, url=url, branch=branch, path=path
        )
    )
    change(connection, organization, url=url, branch=branch, path=path)


def organizations_of_all(connection: Connection) -> list[str]:
    """The names of the organizations that the store knows."""
    names = select(organizations.c.name).order_by(organizations.c.name)
    return list(connection.execute(names.execution_options(**OF_ALL)).scalars())


def get(connection: Connection, organization: str) -> Row[Any]:
    """The organization's repository."""
    named = {"of_organization": organization}
    return remembered(
        connection,
        "repository",
        named,
        [repositories],
        lambda: connection.execute(_REPOSITORY, named).one(),
    )


_REPOSITORY = select(repositories).where(
    repositories.c.organization == bindparam("of_organization")
)


def restored_at(connection: Connection, organization: str) -> int:
    """When it was seen last that the store was put back to an older copy of itself; 0: never."""
    asked = select(repositories.c.restored_at).where(repositories.c.organization == organization)
    return connection.execute(asked).scalar_one_or_none() or 0


def change(connection: Connection, organization: str, **values: Any) -> None:
    """Set columns of the repository's row."""
    connection.execute(
        update(repositories).where(repositories.c.organization == organization).values(**values)
    )


def manifests_of(connection: Connection, organization: str) -> dict[str, Row[Any]]:
    """The Deployments in force by name, with the commit at which each loaded last."""
    rows = connection.execute(select(manifests).where(manifests.c.organization == organization))
    return {row.name: row for row in rows}


def replace_manifests(
    connection: Connection, organization: str, rows: Sequence[dict[str, Any]]
) -> None:
    """Put the Deployments in force in place of the former ones."""
    connection.execute(delete(manifests).where(manifests.c.organization == organization))
    if rows:
        connection.execute(insert(manifests), list(rows))
