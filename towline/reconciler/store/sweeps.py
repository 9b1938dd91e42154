"""Questions about all waiting devices of a run, which are asked now and then and not in every pass.

Who left the filters can only change with a commit. Who is silent for `offline.after` may be known a
hundredth of it late, so that a pass costs what changed and not what waits.
"""

from typing import Any

from sqlalchemy import Connection, or_, true, update

from towline.reconciler.store.tables import runs

SHARE = 100
LEAST_S = 1


def sweep_s(offline_s: int) -> int:
    """How often it is asked who of the last batch is silent for `offline_s`."""
    return max(LEAST_S, offline_s // SHARE)


def note(connection: Connection, run_seq: int, commit: str, now: int, *, is_swept: bool) -> None:
    """Remember what was asked, once nothing is left to be done about the answers."""
    asked_anew = or_(runs.c.checked_commit.is_(None), runs.c.checked_commit != commit)
    if is_swept:
        values: dict[str, Any] = {"swept_at": now, "checked_commit": commit}
        asked_anew = true()
    else:
        values = {"checked_commit": commit}
    connection.execute(update(runs).where(runs.c.seq == run_seq, asked_anew).values(**values))
