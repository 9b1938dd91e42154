"""The reconciler's loop: follow git, pass over what is dirty or due, sleep until something matters.

One thread. It wakes on reports, verbs, a changed working copy and its own timers, and trusts only
what is stored; whom a pass has to ring for, its transactions tell. Of several processes on a store
only the leader decides; the others keep up with the commit that it put in force.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import structlog

from towline.manifests.repository import Repository
from towline.reconciler.analyst import Analyst
from towline.reconciler.event_log import EventLog
from towline.reconciler.follow import Follower
from towline.reconciler.head import Head
from towline.reconciler.leadership import Deposed, FencedStore, Leadership
from towline.reconciler.passing import pass_over
from towline.reconciler.store import audit_rows, changed_devices, dirt, repositories
from towline.reconciler.store.engine import AWAY, Store
from towline.reconciler.store.trouble import while_serving
from towline.reconciler.tallies import LoopTally
from towline.reconciler.watching import watching_thread
from towline.schemas.problems import Problem

FAILED_PASS_REST_S = 5.0
AWAY_REST_S = 1.0
"""A store that cannot be used is tried again so soon."""
STAND_BY_S = 5.0
"""Who does not lead looks so often what is in force, even when nobody tells it."""
STAND_BY_REST_S = 0.1
CATCH_UP_S = 0.5
"""So often while the commit in force has not come here yet."""
REST_LIMIT_S = 0.5
"""After a pass the loop rests as long as it took, this long at most."""
GIT_REST_S = 1
"""Reports wake the loop often; git is a process each time."""
FAILING_REST_S = 60
"""A Deployment whose pass failed (a bug) rests so long."""
RESYNC_S = 3600
"""All Deployments are looked at so often even when nothing is dirty."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class LoopSettings:
    """What the loop needs to know."""

    organization: str
    poll_interval_s: int
    """How often devices poll; three of these is "seen lately"."""
    git_interval_s: int


def _is_over(until: int, rest_s: int, now: int) -> bool:
    """Whether a rest of `rest_s` is over; one that ends later than that began by another clock."""
    return not now < until <= now + rest_s


class Reconciler:
    """Owns the loop's thread; `wake` may be called from any thread."""

    def __init__(
        self,
        store: Store,
        repository: Repository,
        settings: LoopSettings,
        clock: Callable[[], float] = time.time,
        leadership: Leadership | None = None,
    ) -> None:
        """`leadership`: whether this process leads, where it is not alone with the store."""
        self._leadership = leadership
        self._term = FencedStore(store, leadership) if leadership else None
        self._store = store = self._term or store
        self._settings = settings
        self._clock = clock
        self._follower = Follower(store, repository, settings.organization)
        self._repository = repository
        self._bell = threading.Event()
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []
        self._resync_at = 0
        self._git_due = 0
        self._failing: dict[str, int] = {}
        self._ahead: dirt.Ahead | None = None
        """As it still is, since nothing was to be done; None: that must be asked."""
        self._owed: set[str] = set()
        """Deployments that were to be looked at when a pass was broken off."""
        self.tally = LoopTally()
        self._event_log = EventLog(store, settings.organization)
        self._analyst = Analyst(store, self._head_to_ask_for, self.wake, clock)
        if leadership is not None:
            leadership.hear(self.wake)

    @property
    def head(self) -> Head | None:
        """What is in force; None until the first commit was applied."""
        return self._follower.head

    @property
    def leads(self) -> bool:
        """Whether passes are made here."""
        return self._leadership is None or self._leadership.epoch is not None

    def _head_to_ask_for(self) -> Head | None:
        return self.head if self.leads else None

    def start(self, working_copy: Path | None = None) -> None:
        """Begin; with a local working copy a commit is seen at once."""
        self._threads.append(threading.Thread(target=self._run, name="reconciler"))
        if working_copy is not None:
            self._threads.append(watching_thread(working_copy, self._stopping, self.look_at_git))
        for thread in self._threads:
            thread.start()
        self._analyst.start()

    def stop(self) -> None:
        """End after the pass in progress."""
        self._stopping.set()
        self._bell.set()
        self._analyst.stop()
        for thread in self._threads:
            thread.join()

    def wake(self) -> None:
        """Something happened that a pass may care about."""
        self._bell.set()

    def look_at_git(self) -> None:
        """The branch may have moved: it is looked at without a rest."""
        self._git_due = 0
        self.wake()

    def pass_once(self) -> None:
        """Look at git, then at every Deployment that is dirty or due."""
        now, self._ahead = int(self._clock()), None
        if _is_over(self._git_due, GIT_REST_S, now) or self._follower.is_let_through():
            self._git_due = now + GIT_REST_S
            self._look_at_git(now)
        head = self._follower.head
        if head is not None:
            self._owed |= set(self._worklist(head, now))
            for deployment in sorted(self._owed):
                self._ahead = None
                self._pass_over(head, deployment, now)
                self._owed.discard(deployment)
        self._event_log.tell_new()
        self._analyst.wake()

    def _pass_over(self, head: Head, deployment: str, now: int) -> None:
        """One Deployment's trouble is its own: the others go on, and it is tried again later."""
        try:
            pass_over(self._store, head, deployment, now, self._settings.poll_interval_s)
        except (Deposed, *AWAY):
            raise  # the trouble of all
        except Exception:
            log.exception("deployment.failed", deployment=deployment)
            self.tally.failed_passes += 1
            self._failing[deployment] = now + FAILING_REST_S
            return
        self._failing.pop(deployment, None)

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._bell.clear()
            began = time.monotonic()
            sleep_s = self._look_around()
            # Reports that come all the time gather meanwhile: passes take half the time at most.
            self._stopping.wait(min(time.monotonic() - began, REST_LIMIT_S))
            self._bell.wait(sleep_s)

    def _look_around(self) -> float:
        """A pass, or what a stand-by does; returns how long to sleep."""
        try:
            if not self._has_term():
                is_there = self._follower.keep_up()
                self.tally.git_seen_at = self._repository.seen_at(int(self._clock()))
                self._stopping.wait(STAND_BY_REST_S)
                return STAND_BY_S if is_there else CATCH_UP_S
            with self.tally.passes.timed():
                self.pass_once()
            return self._sleep_s()
        except Deposed:
            # What was decided is dropped; whoever leads now decides it anew.
            return 0.0
        except AWAY as error:
            log.error("pass.store-away", **while_serving(self._store.engine, error))
            self.tally.failed_passes += 1
            return AWAY_REST_S
        except Exception:
            # A bug must be loud and must not end the loop: nothing was committed by halves.
            log.exception("pass.failed")
            self.tally.failed_passes += 1
            return FAILED_PASS_REST_S

    def _has_term(self) -> bool:
        """Whether this process leads; at the beginning of a term everything is looked at anew."""
        if self._leadership is None or self._term is None:
            return True
        epoch = self._leadership.epoch
        if epoch != self._term.epoch:
            self._term.epoch = epoch
            self._git_due = self._resync_at = 0
            self._failing.clear()
            self._owed.clear()
            self._follower.begin_term()
            self._event_log.skip()
        return epoch is not None

    def _look_at_git(self, now: int) -> None:
        try:
            with self.tally.git_looks.timed():
                self._follower.look(now)
        except Problem as problem:
            log.warning("git.failed", error=str(problem))
            self.tally.failed_git_looks += 1
        else:
            self.tally.git_seen_at = self._repository.seen_at(now)

    def _worklist(self, head: Head, now: int) -> list[str]:
        """Which Deployments to look at; nobody's turn to write is taken where there is none."""
        is_resync = _is_over(self._resync_at, RESYNC_S, now)
        with self._store.read() as connection:
            self._ahead = dirt.ahead(connection, self._settings.organization)
        if not (is_resync or self._failing or self._ahead.is_work(now)):
            return []
        return self._take_work(head, now, is_resync=is_resync)

    def _take_work(self, head: Head, now: int, *, is_resync: bool) -> list[str]:
        organization = self._settings.organization
        with self._store.write() as connection:
            names = {
                *dirt.take(connection, organization),
                *dirt.due(connection, organization, now),
            }
            if is_resync:
                self._resync_at = now + RESYNC_S
                changed_devices.unsettle(connection, organization)
                names |= {
                    *head.deployments,
                    *repositories.manifests_of(connection, organization),
                }
                acts, head_hash = audit_rows.end(connection, organization)
                log.info("audit.head", organization=organization, acts=acts, hash=head_hash)
        names |= set(self._failing)
        return sorted(
            name for name in names if _is_over(self._failing.get(name, 0), FAILING_REST_S, now)
        )

    def _sleep_s(self) -> float:
        """Until git is looked at again or a clock of a run matters; not at all while work waits."""
        if (ahead := self._ahead) is None:
            with self._store.read() as connection:
                ahead = dirt.ahead(connection, self._settings.organization)
        if ahead.is_dirty and self.head is not None:
            return 0.0  # A pass left a part to the next one.
        due = ahead.next_due
        wait = float(self._settings.git_interval_s)
        if due is not None:
            wait = min(wait, due - self._clock() + 0.05)
        return max(0.2, wait)
