"""Completed targets that move again: sent back to what they came from, healed, given up."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, and_

from towline.reconciler.store.tables import targets
from towline.reconciler.store.targets import has_no_other_active, move
from towline.schemas.states import TargetState

_AGAIN = {
    "attempt": targets.c.attempt + 1,
    "granted_at": None,
    "fetched_at": None,
    "prepared_at": None,
    "deadline": None,
    "verified_at": None,
    "completed_at": None,
    "waits": "",
    "waits_since": None,
}
"""A target that is attempted once more begins anew."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of devices that were to go back."""

    on_the_way: set[int]
    without_previous: set[int]
    """A first install has nothing to go back to."""


def send_back(
    connection: Connection,
    run_seq: int,
    devices: Sequence[int],
    now: int,
    stranded: Collection[int] = (),
) -> Sent:
    """Let completed devices go back to what their targets recorded at the grant.

    `stranded` are those that have nothing to go back to.
    """
    chosen = targets.c.device_seq.in_(devices)
    without = move(
        connection,
        run_seq,
        targets.c.device_seq.in_(stranded),
        [TargetState.COMPLETED],
        TargetState.FAILED,
        reason="NoPrevious",
        error_message="the device ran nothing before, or nothing that it may run again",
        completed_at=now,
    )
    on_the_way = move(
        connection,
        run_seq,
        and_(chosen, has_no_other_active()),
        [TargetState.COMPLETED],
        TargetState.PENDING,
        reason="RollingBack",
        goes_back=True,
        **_AGAIN,
    )
    return Sent(set(on_the_way), set(without))


def heal(connection: Connection, run_seq: int, devices: Sequence[int], now: int) -> set[int]:
    """Drifted devices get the release once more."""
    return set(
        move(
            connection,
            run_seq,
            and_(targets.c.device_seq.in_(devices), has_no_other_active()),
            [TargetState.COMPLETED],
            TargetState.PENDING,
            reason="Drifted",
            staged_at=None,
            healed_at=now,
            heals=targets.c.heals + 1,
            **_AGAIN,
        )
    )


def attempt_again(
    connection: Connection,
    run_seq: int,
    chosen: ColumnElement[bool],
    before: Iterable[TargetState],
) -> set[int]:
    """The next attempt of targets that ended otherwise than they should."""
    return set(
        move(
            connection,
            run_seq,
            and_(chosen, has_no_other_active()),
            before,
            TargetState.PENDING,
            reason="Selected",
            is_set_aside=False,
            goes_back=False,
            staged_at=None,
            error_message=None,
            **_AGAIN,
        )
    )


def give_up_healing(
    connection: Connection, run_seq: int, devices: Sequence[int], now: int
) -> set[int]:
    """Devices that drifted after each heal that a run allows."""
    return set(
        move(
            connection,
            run_seq,
            targets.c.device_seq.in_(devices),
            [TargetState.COMPLETED],
            TargetState.FAILED,
            reason="DriftLoop",
            error_message="the device drifted again after it was healed three times",
            completed_at=now,
        )
    )
