"""What a person must know of an act: how the devices of a run stand when it is done."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from towline.reconciler.store.tables import targets
from towline.schemas.states import TargetState


@dataclass(frozen=True, slots=True)
class Standing:
    """So many of a run's devices stand alike."""

    state: TargetState
    is_granted: bool
    has_previous: bool
    """The grant recorded what the device came from."""
    n: int


def standings(connection: Connection, run_seq: int) -> list[Standing]:
    """How the devices of a run stand now."""
    keys = (
        targets.c.status,
        targets.c.granted_at.is_not(None),
        targets.c.from_sha256.is_not(None),
    )
    rows = connection.execute(
        select(*keys, func.count()).where(targets.c.run_seq == run_seq).group_by(*keys)
    )
    return [
        Standing(TargetState(status), bool(granted), bool(previous), n)
        for status, granted, previous, n in rows
    ]
