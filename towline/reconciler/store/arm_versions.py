"""Which version the arms of an experiment deliver: not all of them the run's."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, select

from towline.reconciler.store import tables as t


def versions_of(connection: Connection, run_seqs: Iterable[int]) -> Mapping[tuple[int, str], str]:
    """By run and arm; runs without an offer are left out."""
    rows = connection.execute(
        select(t.runs.c.seq, t.runs.c.offer).where(
            t.runs.c.seq.in_(sorted(set(run_seqs))), t.runs.c.offer.is_not(None)
        )
    )
    return {
        (row.seq, release["arm"]): release["version"]
        for row in rows
        for release in row.offer.get("releases", [])
        if release["arm"] is not None
    }
