"""How long installs take: the median from grant to verification, however many devices there are.

Of a large batch a sample is asked: the first of its random order, which is fair. It stands for as
many devices as it was drawn from.
"""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, func, select

from towline.reconciler.store.tables import targets
from towline.schemas.states import TargetState

SAMPLE = 2000
"""Of so many devices of a batch and arm; up to that the median is exact."""

Weighed = tuple[int, float]
"""A length in seconds, and for how many devices it stands."""


def medians(
    connection: Connection, run_seq: int, verified: Mapping[tuple[int, str], int]
) -> dict[tuple[int | None, str], int]:
    """In whole seconds by batch and arm, and (None) by arm over all batches.

    `verified`: how many devices of each batch and arm completed and were verified.
    """
    found: dict[tuple[int | None, str], int] = {}
    all_of: dict[str, list[Weighed]] = {}
    for (batch, arm), n in verified.items():
        lengths = _sampled(connection, run_seq, batch, arm) if n else []
        if lengths:
            weighed = [(length, n / len(lengths)) for length in lengths]
            found[batch, arm] = _median(weighed)
            all_of.setdefault(arm, []).extend(weighed)
    return found | {(None, arm): _median(weighed) for arm, weighed in all_of.items()}


def _sampled(connection: Connection, run_seq: int, batch: int, arm: str) -> list[int]:
    return list(
        connection.execute(
            select(targets.c.verified_at - targets.c.granted_at)
            .where(
                targets.c.run_seq == run_seq,
                targets.c.status == TargetState.COMPLETED.value,
                targets.c.batch == batch,
                func.coalesce(targets.c.arm, "") == arm,
                targets.c.verified_at.is_not(None),
                targets.c.granted_at.is_not(None),
            )
            .order_by(targets.c.position)
            .limit(SAMPLE)
        ).scalars()
    )


def _median(weighed: Iterable[Weighed]) -> int:
    """What half of the devices stay under; between the two in the middle, their mean."""
    lengths = sorted(weighed)
    half = sum(weight for _, weight in lengths) / 2
    passed = 0.0
    for at, (length, weight) in enumerate(lengths):
        passed += weight
        if passed > half or at == len(lengths) - 1:
            return length
        if passed == half:
            return (length + lengths[at + 1][0]) // 2
    raise ValueError("a median needs a length")
