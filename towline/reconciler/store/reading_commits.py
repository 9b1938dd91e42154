"""What the store knows of commits: when each came into force, what held it, which runs it began."""

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from towline.reconciler.store import tables as t

_LOOKED_AT = 2000
"""So many of the last events of the repository are looked at."""
_KINDS = ("commit.applied", "repository.held")


@dataclass(slots=True)
class CommitKnown:
    """What became of one commit."""

    applied_at: int | None = None
    held_at: int | None = None
    held: str = ""
    """Why it was held."""
    runs: list[tuple[str, str, str]] = field(default_factory=list)
    """Name, version and UUID of each run that it began."""


def known(
    connection: Connection, organization: str, shas: Collection[str]
) -> dict[str, CommitKnown]:
    """By commit, for all of `shas`."""
    found = {sha: CommitKnown() for sha in shas}
    events = connection.execute(
        select(t.events.c.kind, t.events.c.commit, t.events.c.at, t.events.c.message)
        .where(
            t.events.c.organization == organization,
            t.events.c.deployment.is_(None),
            t.events.c.kind.in_(_KINDS),
        )
        .order_by(t.events.c.id.desc())
        .limit(_LOOKED_AT)
    )
    for kind, sha, at, message in events:
        if sha not in found:
            continue
        if kind == "commit.applied" and found[sha].applied_at is None:
            found[sha].applied_at = at
        elif kind == "repository.held" and found[sha].held_at is None:
            found[sha].held_at, found[sha].held = at, message
    runs = connection.execute(
        select(t.runs.c.source_commit, t.runs.c.deployment, t.runs.c.target_version, t.runs.c.id)
        .where(t.runs.c.organization == organization, t.runs.c.source_commit.in_(shas))
        .order_by(t.runs.c.seq)
    )
    for sha, name, version, run_id in runs:
        found[sha].runs.append((name, version, str(run_id)))
    return found
