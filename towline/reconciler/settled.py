"""When a run need not look at all devices again: nobody was left to be taken, and only a change of
a device can make one that is.

What is asked besides of the head, of the run and of time must be the same, or nobody can be told
settled: so whoever fits, is claimed by another Deployment or busy in another run keeps the run
looking at all.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment, StrategyKind
from towline.reconciler.fitness import Fit
from towline.reconciler.head import Head
from towline.reconciler.store import changed_devices
from towline.reconciler.store.causes import is_recorded
from towline.reconciler.store.condition_keys import ConditionGroup

Groups = Mapping[Fit, Sequence[ConditionGroup]]


def leaves_nobody(groups: Groups) -> bool:
    """Pure: only a change of a device can bring it into the run."""
    is_open = groups.get(Fit.FITS) or groups.get(Fit.OWNED_BY_OTHER)
    return not is_open and not any(group.is_busy for group in groups.get(Fit.THERE, ()))


def since(connection: Connection, head: Head, manifest: Deployment, run: Row[Any]) -> int | None:
    """Up to which change the run is settled; None when all devices must be looked at."""
    if not is_kept(connection, manifest) or run.settled_for != _what_for(head, run.status):
        return None
    change: int | None = run.settled_change
    return change


def note(
    connection: Connection, head: Head, manifest: Deployment, run_seq: int, status: str
) -> None:
    """All that changed until now was looked at, and left nobody."""
    if is_kept(connection, manifest):
        newest = changed_devices.newest(connection)
        changed_devices.settle(connection, run_seq, newest, _what_for(head, status))


def is_kept(connection: Connection, manifest: Deployment) -> bool:
    """In a private copy nobody notes changes; people name the devices of `manual` at any time."""
    return is_recorded(connection) and manifest.strategy is not StrategyKind.MANUAL


def _what_for(head: Head, status: str) -> str:
    """The filters and claims are the commit's; after completion only the first arm is left."""
    return f"{head.commit.sha} {status}"
