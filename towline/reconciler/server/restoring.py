"""A server's store put back to a backup, while no server runs.

Nobody knows what was decided since: every run waits until a person approves that it goes on.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from towline.reconciler import restored
from towline.reconciler.server.only_server import only_on_folder
from towline.reconciler.store import causes, events, file_copies, owner_only, repositories, runs
from towline.reconciler.store.address import STORE_FILE
from towline.reconciler.store.engine import open_store
from towline.schemas import times
from towline.schemas.problems import Problem


@dataclass(frozen=True, slots=True)
class Restored:
    """What came of it."""

    store: Path
    former: Path | None
    """Where the store lies that was there before."""
    newest: int
    """The newest time that is recorded in the backup; 0: none."""
    held: tuple[str, ...]
    """The Deployments whose runs wait for an approval, as `organization/name`."""


def restore(backup: Path, data: Path, now: int) -> Restored:
    """Put `backup` into the data folder; raises Problem, with the folder's store as it was."""
    if not backup.is_file():
        raise Problem(f"there is no backup at {backup}", remedy="name a file of `towline backup`")
    owner_only.make_folder(data)
    place = data / STORE_FILE
    with (
        only_on_folder(data, remedy="stop it, then restore again"),
        TemporaryDirectory(prefix=".restoring-", dir=data) as folder,
    ):
        prepared = Path(folder) / STORE_FILE
        file_copies.take(backup, prepared)
        newest, held = _prepare(prepared, now)
        former = _former(place, now)
        file_copies.put(prepared, place, former)
    return Restored(place, former if former.exists() else None, newest, held)


def _prepare(file: Path, now: int) -> tuple[int, tuple[str, ...]]:
    """Bring it up to date and hold its runs."""
    store = open_store(file)
    try:
        with store.write() as connection:
            newest = events.newest_time(connection)
            since = times.to_rfc3339(newest) if newest else "its begin"
            message = f"the store was put back to a backup that knows nothing after {since}"
            held: list[str] = []
            causes.because(connection, "restore", now)
            for organization in repositories.organizations_of_all(connection):
                restored.hold_runs(connection, organization, now, message)
                live = runs.live_of(connection, organization)
                held += [f"{organization}/{name}" for name in sorted({r.deployment for r in live})]
    finally:
        store.close()
    return newest, tuple(held)


def _former(place: Path, now: int) -> Path:
    """Where what is there now will lie."""
    at = times.to_rfc3339(now).replace(":", "").replace("-", "")
    former = place.with_name(f"{place.name}.before-restore-{at}")
    if former.exists():
        raise Problem(f"{former} is there already", remedy="move it away, or wait a second")
    return former
