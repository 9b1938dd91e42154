"""Performing decided actions: the one place where the reconciler writes.

Everything of one call happens in the caller's transaction; the devices whose documents change are
returned, so that the loop can ring for them after the commit.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler import begin, selection
from towline.reconciler.actions import (
    Action,
    AddHold,
    Admit,
    BeginAnalysis,
    BeginRun,
    ChangeOffer,
    ClearHold,
    Defer,
    EndRun,
    FillUp,
    GiveUpHealing,
    GiveUpPreparing,
    GoBack,
    Grant,
    Heal,
    Hold,
    LetGo,
    MoveBatch,
    OpenBatch,
    Readmit,
    Release,
    SendBack,
    StartRun,
    TimeOut,
    Withdraw,
)
from towline.reconciler.creating_reach import Kind, reach_beside
from towline.reconciler.filling import PART, fill_up
from towline.reconciler.head import Head
from towline.reconciler.holding import STAY_WITH_DEPLOYMENT
from towline.reconciler.lengths import counted
from towline.reconciler.previous import stranded
from towline.reconciler.run_changes import end_run, record_for, settle, turn_back
from towline.reconciler.scope import current_offer
from towline.reconciler.store import grants, outbox, runs, ways_back
from towline.reconciler.store.causes import because
from towline.reconciler.store.events import Event
from towline.schemas.states import BatchState, RunState

_CAUSES = {
    "clock": (Withdraw, Defer, TimeOut, GiveUpPreparing),
    "gate": (MoveBatch, BeginAnalysis, GoBack, SendBack),
    "drift": (Heal, GiveUpHealing),
    "filters": (Release,),
    "device is back": (Readmit,),
    "decision": (Hold,),
}
"""What makes an action happen that git does not."""
_CAUSES_OF_HOLDS = {
    "PausedInGit": "",
    "PolicyViolated": "",
    "PausedByUser": "clock",
    "DeadlineExceeded": "clock",
    "GitStale": "clock",
}
"""Empty: a commit; every other hold is a gate's."""


class Performer:
    """Performs actions for one Deployment inside one transaction."""

    def __init__(
        self, connection: Connection, head: Head, deployment: str, *, now: int, seen_after: int
    ) -> None:
        self.connection = connection
        self.head = head
        self.deployment = deployment
        self.now = now
        self.seen_after = seen_after
        self.touched: set[int] = set()
        self.goes_on = False
        """A part of the devices was selected: the next part is the next pass's."""

    def perform(self, actions: Sequence[Action]) -> set[int]:
        """Perform in order; returns the devices whose documents change."""
        for action in actions:
            because(self.connection, self._cause(action), self.now)
            self._perform(action)
        because(self.connection, "decision", self.now)
        if (run := self._run()) is not None:
            settle(self.connection, run, self.now)
        outbox.ring(self.connection, self.touched)
        return self.touched

    def _run(self) -> Row[Any] | None:
        return runs.newest_run(self.connection, self.head.organization, self.deployment)

    @property
    def _manifest(self) -> Deployment:
        return self.head.deployments[self.deployment]

    def _perform(self, action: Action) -> None:
        if isinstance(action, BeginRun):
            self.touched |= begin.begin_run(
                self.connection, self.head, self._manifest, action, self.now
            )
            self._note_reach(Kind(is_return=action.is_return, is_retry=action.is_retry))
            return
        run = self._run()
        assert run is not None
        self._perform_on(run, action)

    def _note_reach(self, kind: Kind) -> None:
        """Until batches count its devices, a run has those that it would take now."""
        n = reach_beside(self.connection, self.head, self._manifest, kind, self.seen_after)
        run = self._run()
        assert run is not None
        runs.set_on_run(self.connection, run.seq, target_count=n)

    def _perform_on(self, run: Row[Any], action: Action) -> None:
        match action:
            case EndRun(status, reason, message):
                self.touched |= end_run(self.connection, run, status, reason, message, self.now)
            case LetGo():
                runs.set_on_run(self.connection, run.seq, let_go_at=self.now)
            case StartRun():
                self._start(run)
            case AddHold():
                self._add_hold(run, action)
            case ClearHold(reason):
                runs.remove_holds(self.connection, run.organization, run.deployment, reason)
                self._record(run, Event("hold.cleared", reason=reason))
            case ChangeOffer():
                self._change_offer(run)
            case MoveBatch(number, state, message):
                self._move_batch(run, number, state, message)
            case BeginAnalysis(number):
                runs.begin_analysis(self.connection, run.seq, number, self.now)
                self._record(run, Event("batch.analyzing", message=f"batch {number + 1}"))
            case GoBack(reason):
                self.touched |= turn_back(self.connection, run, reason, self.now)
            case Hold(reason, message, until):
                self._wait(run, reason, message, until)
            case _:
                self._perform_on_targets(run, action)

    def _perform_on_targets(self, run: Row[Any], action: Action) -> None:
        connection, now = self.connection, self.now
        match action:
            case OpenBatch() | Admit() | FillUp():
                self._select(run, action)
            case Grant(devices):
                self.touched |= grants.grant(connection, run.seq, devices, now)
                slugs = grants.slugs(connection, devices)
                self._record(run, Event("target.granted", data={"devices": slugs}))
            case Withdraw(run_seq, devices):
                self.touched |= grants.withdraw(connection, run_seq, devices)
            case Defer(run_seq, devices):
                self.touched |= grants.defer(connection, run_seq, devices)
                self._record_each(run_seq, devices, "target.deferred", "OfflineDeferred")
            case TimeOut(run_seq, devices):
                self.touched |= grants.time_out(connection, run_seq, devices, now)
                self._record_each(run_seq, devices, "target.failed", "TimedOut")
            case GiveUpPreparing(run_seq, devices):
                self.touched |= grants.give_up_preparing(connection, run_seq, devices, now)
                self._record_each(run_seq, devices, "target.failed", "DownloadFailed")
            case SendBack(devices):
                self._send_back(run, devices)
            case Heal(devices):
                self.touched |= ways_back.heal(connection, run.seq, devices, now)
                slugs = grants.slugs(connection, devices)
                self._record(run, Event("target.healed", data={"devices": slugs}))
            case GiveUpHealing(devices):
                self.touched |= ways_back.give_up_healing(connection, run.seq, devices, now)
                self._record_each(run.seq, devices, "target.failed", "DriftLoop")
            case Release(run_seq, devices):
                self.touched |= grants.release(connection, run_seq, devices, now)
                self._record_each(run_seq, devices, "target.skipped", "NoLongerMatches")
            case Readmit(devices, batch):
                self.touched |= grants.readmit(connection, run.seq, batch, devices)

    def _select(self, run: Row[Any], action: OpenBatch | Admit | FillUp) -> None:
        connection, now = self.connection, self.now
        match action:
            case OpenBatch():
                chosen = selection.open_batch(
                    connection, self.head, self._manifest, run, action, now, self.seen_after
                )
                message = f"{action.plan.name}: {counted(chosen, 'device')}"
                self._record(run, Event("batch.opened", message=message))
                self.touched |= grants.to_prepare(connection, run.seq, action.number)
                self.goes_on = chosen > PART
            case Admit(batch, limit, only_seen):
                self.touched |= selection.admit(
                    connection, self.head, self._manifest, run, batch, limit,
                    now=now, seen_after=self.seen_after, only_seen=only_seen,
                )  # fmt: skip
                self.goes_on = limit >= PART
            case FillUp(batch):
                self.touched |= fill_up(
                    connection, self.head, self._manifest, run, batch, now, self.seen_after
                )
                self.goes_on = True

    def _send_back(self, run: Row[Any], devices: Sequence[int]) -> None:
        left = stranded(self.connection, run.seq, devices)
        sent = ways_back.send_back(self.connection, run.seq, devices, self.now, left)
        self.touched |= sent.on_the_way | sent.without_previous
        for kind, reason, chosen in (
            ("target.sent_back", run.goes_back, sent.on_the_way),
            ("target.failed", "NoPrevious", sent.without_previous),
        ):
            if chosen:
                slugs = grants.slugs(self.connection, sorted(chosen))
                self._record(run, Event(kind, reason=reason, data={"devices": slugs}))

    def _start(self, run: Row[Any]) -> None:
        offer, _ = current_offer(self.head, self._manifest, run)
        assert offer is not None
        runs.change_run(
            self.connection,
            run,
            RunState.IN_PROGRESS,
            offer=offer.document(),
            started_at=self.now,
            reason="RollingOut",
        )
        self._record(run, Event("run.started"))

    def _change_offer(self, run: Row[Any]) -> None:
        offer, _ = current_offer(self.head, self._manifest, run)
        assert offer is not None
        runs.set_on_run(self.connection, run.seq, offer=offer.document())
        self.touched |= grants.offered(self.connection, run.seq)
        self._record(run, Event("run.tuned", message="URLs or deviceTimeout"))

    def _add_hold(self, run: Row[Any], hold: AddHold) -> None:
        runs.add_hold(
            self.connection,
            run,
            {
                "reason": hold.reason,
                "message": hold.message,
                "author": "towline",
                "since": self.now,
            },
            stays=hold.reason in STAY_WITH_DEPLOYMENT,
        )
        if hold.withdraws:
            self.touched |= grants.withdraw_all(self.connection, run.seq)
        self._record(run, Event("run.held", reason=hold.reason, message=hold.message))

    def _move_batch(self, run: Row[Any], number: int, state: BatchState, message: str) -> None:
        ended = {"ended_at": self.now} if state is not BatchState.SOAKING else {}
        runs.change_batch(self.connection, run.seq, number, state, **ended)
        # Whoever still waits in it prepares while it is open, and no longer once it failed.
        self.touched |= grants.waiting_in(self.connection, run.seq, number)
        words = message or f"batch {number + 1}"
        self._record(run, Event(f"batch.{state}", message=words))

    def _wait(self, run: Row[Any], reason: str, message: str, until: int | None) -> None:
        values: dict[str, Any] = {"next_due": until}
        if reason:
            values |= {"reason": reason, "message": message}
        if changed := {key: value for key, value in values.items() if getattr(run, key) != value}:
            runs.set_on_run(self.connection, run.seq, **changed)

    def _cause(self, action: Action) -> str:
        """Who or what makes the action happen."""
        if isinstance(action, (AddHold, ClearHold)):
            cause = _CAUSES_OF_HOLDS.get(action.reason, "gate")
        else:
            cause = next((word for word, kinds in _CAUSES.items() if isinstance(action, kinds)), "")
        return cause or f"commit {self.head.commit.sha[:12]} by {self.head.commit.author}"

    def _record(self, run: Row[Any], event: Event) -> None:
        record_for(self.connection, run, event, now=self.now)

    def _record_each(self, run_seq: int, devices: Sequence[int], kind: str, reason: str) -> None:
        """One event for each device: this is its story."""
        run = runs.get_run(self.connection, run_seq)
        record_for(
            self.connection,
            run,
            *(
                Event(kind, device=slug, reason=reason)
                for slug in grants.slugs(self.connection, devices)
            ),
            now=self.now,
        )
