"""How looks at the repository end: noted in the store, and told once per outage.

A success is written at most once a minute, because the loop looks whenever it wakes; a failure
when something about it is new.
"""

from sqlalchemy import Connection

from towline.manifests.model_policy import Policy
from towline.manifests.repository import BranchMissing
from towline.reconciler.commits import is_git_stale
from towline.reconciler.store import dirt, repositories
from towline.reconciler.store.engine import Store
from towline.reconciler.store.events import Event, happened_since, record
from towline.schemas import times
from towline.schemas.problems import Problem

NOTED_EVERY_S = 60


class Looks:
    """Of one organization's repository; used by the loop's thread only."""

    def __init__(self, store: Store, organization: str) -> None:
        self._store = store
        self._organization = organization
        self._seen_at: int | None = None
        self._told_stale_since: int | None = None
        self._is_held = False

    def succeeded(self, seen_at: int) -> None:
        """The branch was seen at that time."""
        self._seen_at = seen_at
        with self._store.read() as connection:
            row = repositories.get(connection, self._organization)
        # A clock that was set back must not leave a time of the future there.
        is_recent = 0 <= seen_at - (row.last_fetch_at or 0) < NOTED_EVERY_S
        if is_recent and not row.last_error:
            return
        with self._store.write() as connection:
            repositories.change(
                connection, self._organization, last_error="", last_fetch_at=seen_at
            )
            if row.last_error:
                # Whatever was held because git was stale goes on.
                dirt.mark_all(connection, self._organization)
        self._is_held = False

    def failed(self, problem: Problem, policy: Policy, now: int) -> None:
        """The branch could not be seen; what is in force stays in force."""
        error = " → ".join(filter(None, [problem.what, problem.remedy]))
        with self._store.read() as connection:
            row = repositories.get(connection, self._organization)
        seen_at = self._seen_at or row.last_fetch_at
        is_stale = is_git_stale(seen_at, policy.stale_git_alert_s, now)
        is_held = is_git_stale(seen_at, policy.stale_git_hold_s, now)
        shown = error
        if is_stale and seen_at is not None:
            shown = f"{error} (last read {times.to_rfc3339(seen_at)})"
        if (shown, seen_at, is_held) == (row.last_error, row.last_fetch_at, self._is_held):
            return
        with self._store.write() as connection:
            repositories.change(
                connection, self._organization, last_error=shown, last_fetch_at=seen_at
            )
            if not row.last_error.startswith(error):
                kind = "branch-missing" if isinstance(problem, BranchMissing) else "unreachable"
                self._tell(connection, f"repository.{kind}", error, now)
            if is_stale and self._is_untold(connection, seen_at):
                self._tell(connection, "repository.stale", shown, now)
            if is_held and not self._is_held:
                dirt.mark_all(connection, self._organization)
        self._is_held = is_held

    def _tell(self, connection: Connection, kind: str, message: str, now: int) -> None:
        record(connection, self._organization, now, Event(kind, message=message, cause="git"))

    def _is_untold(self, connection: Connection, seen_at: int | None) -> bool:
        """An outage is known by when it began; it may have been told before a restart."""
        if seen_at is None or seen_at == self._told_stale_since:
            return False
        self._told_stale_since = seen_at
        return not happened_since(connection, self._organization, "repository.stale", seen_at)
