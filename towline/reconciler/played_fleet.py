"""Devices of a simulation: they poll, stage, install, verify or go back, in their time.

What they do is written as ingest would write it, for all devices of one tick at once; what follows
from it (deferral, timeouts, gates) is left to the real rules. A device that is not in touch does
nothing until it is back.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.model_policy import Freeze
from towline.reconciler.failure_model import Chance, FailureModel
from towline.reconciler.offer import Offer
from towline.reconciler.played_queue import NO_RUN, Queue, Step
from towline.reconciler.played_windows import Openings
from towline.reconciler.store import inventory, played, played_reading, runs
from towline.schemas.states import BUSY_TARGETS, TargetState

_BUSY = [state.value for state in BUSY_TARGETS]
_REPORTS_AGAIN_S = 2
"""After an install a device does not wait for its next poll to ask what is wanted now."""


class PlayedFleet:
    """The `Devices` of a rehearsal under a failure model."""

    def __init__(
        self,
        model: FailureModel,
        chance: Chance,
        *,
        poll_interval_s: int,
        tick_s: int,
        freezes: Mapping[str, Freeze],
    ) -> None:
        self.model = model
        self.chance = chance
        self.poll_interval_s = poll_interval_s
        self.harmed: Counter[int] = Counter()
        """By run: devices on which the release failed its health check."""
        self._queue = Queue(tick_s)
        self._freezes = freezes
        self._away: set[int] = set()
        self._rung: set[int] = set()
        """Devices that fetch a changed document at their next poll."""
        self._at_work: set[tuple[int, int]] = set()
        """Run and device, where a step of theirs is in the queue."""
        self._offers: dict[int, Offer] = {}
        self._rates: dict[int, float] = {}

    def begin(self, connection: Connection, now: int, seen_after: int) -> None:
        """Draw who is away, and ring for what is under way."""
        labels = played_reading.label_sets_known(connection)
        self._openings = Openings(self._freezes, labels)
        self._rates = {number: self.model.rate(each) for number, each in labels.items()}
        online = played_reading.in_touch(connection, seen_after)
        drawn = {device for device in online if self.chance.share() < self.model.offline}
        away = sorted({*played_reading.out_of_touch(connection, seen_after), *drawn})
        played.see(connection, drawn, seen_after - 1)
        played.see(connection, set(online) - drawn, played.NEVER_SILENT)
        self._away = set(away)
        if self.model.offline_for_s is not None:
            for device in away:
                back_in_s = self.chance.length(self.model.offline_for_s)
                self._queue.add(now, back_in_s, Step.BACK, NO_RUN, device)
        self.ring(played_reading.unfinished_devices(connection), now)

    def ring(self, devices: Collection[int], now: int) -> None:
        """They see what changed when they poll next."""
        for device in sorted(devices):
            if device not in self._away and device not in self._rung:
                self._rung.add(device)
                in_s = self.chance.share() * self.poll_interval_s
                self._queue.add(now, in_s, Step.POLLED, NO_RUN, device)

    def answer(self, connection: Connection, run: Row[Any], *, is_held: bool, now: int) -> bool:
        """Take the steps of all devices that are due, whichever run they are of.

        What no decision looks at, a fetch or the begin of an install, is no move.
        """
        has_moved = False
        for step, run_seq, devices in self._queue.due(now):
            if step is Step.LATE:
                has_moved |= any((run_seq, device) in self._at_work for device in devices)
                continue
            self._at_work.difference_update((run_seq, device) for device in devices)
            match step:
                case Step.BACK:
                    has_moved |= self._come_back(connection, devices, now)
                case Step.POLLED:
                    has_moved |= self._poll(connection, devices, now)
                case Step.STAGED:
                    has_moved |= played.stage(connection, run_seq, devices, now)
                case Step.OPENED:
                    targets = played_reading.targets_of(connection, devices, run_seq)
                    has_moved |= self._install(connection, run_seq, targets, now)
                case Step.ENDED:
                    has_moved |= self._end(connection, run_seq, devices, now)
                case Step.VERIFIED:
                    has_moved |= played.verify(connection, run_seq, devices, now)
        return has_moved

    def next_time(self) -> int | None:
        """When a device acts next."""
        return self._queue.next_at

    def _come_back(self, connection: Connection, devices: Sequence[int], now: int) -> bool:
        self._away.difference_update(devices)
        played.see(connection, devices, played.NEVER_SILENT)
        return self._poll(connection, devices, now) or True

    def _poll(self, connection: Connection, devices: Sequence[int], now: int) -> bool:
        """Fetch the documents, and begin what they ask for."""
        self._rung.difference_update(devices)
        by_run: dict[int, list[Row[Any]]] = defaultdict(list)
        for target in played_reading.targets_of(connection, devices):
            if (target.run_seq, target.device_seq) not in self._at_work:
                by_run[target.run_seq].append(target)
        waits = [
            self._obey(connection, run_seq, targets, now)
            for run_seq, targets in sorted(by_run.items())
        ]
        return any(waits)

    def _obey(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]], now: int
    ) -> bool:
        """Do what the documents say; True when one waits for a window."""
        timeout_s = self._offer(connection, run_seq).device_timeout_s
        granted = [each for each in targets if each.granted_at is not None]
        pending = [each for each in granted if each.status == TargetState.PENDING.value]
        unfetched = [each.device_seq for each in pending if each.fetched_at is None]
        played.fetch(connection, run_seq, unfetched, now, timeout_s)
        waits = self._install(connection, run_seq, pending, now)
        busy = [each for each in granted if each.status in _BUSY]
        self._later(now, self._left_s, Step.ENDED, run_seq, busy)
        done = [each for each in targets if each.status == TargetState.COMPLETED.value]
        self._later(now, _again_s, Step.VERIFIED, run_seq, done)
        selected = [
            each
            for each in targets
            if each.granted_at is None and each.staged_at is None and not each.goes_back
        ]
        unheard = [each.device_seq for each in selected if each.prepared_at is None]
        played.prepare(connection, run_seq, unheard, now, timeout_s)
        self._later(now, self._download_s, Step.STAGED, run_seq, selected)
        late_at = now + timeout_s
        self._queue.add_not_before(late_at, Step.LATE, run_seq, [*unfetched, *unheard])
        return waits

    def _install(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]], now: int
    ) -> bool:
        """Begin where a window is open, or wait for it, and say if one does.

        The grant may be gone by now.
        """
        offer = self._offer(connection, run_seq)
        goes_through = runs.get_run(connection, run_seq).through_windows
        begins, waits = [], []
        for target in targets:
            if target.granted_at is None or target.status != TargetState.PENDING.value:
                continue
            at = now if goes_through else self._openings.next(offer, target, now)
            if at == now:
                begins.append(target)
                continue
            waits.append(target.device_seq)
            if at is not None:
                self._queue.add_not_before(at, Step.OPENED, run_seq, [target.device_seq])
                self._at_work.add((run_seq, target.device_seq))
        played.begin(connection, run_seq, [each.device_seq for each in begins], now)
        self._later(now, self._install_s, Step.ENDED, run_seq, begins)
        played.wait(connection, run_seq, waits, now)
        return bool(waits)

    def _end(self, connection: Connection, run_seq: int, devices: Sequence[int], now: int) -> bool:
        """Installs are over: True when one went wrong, or back; a success is verified first."""
        targets = [
            each
            for each in played_reading.targets_of(connection, devices, run_seq)
            if _is_awaited(each)
        ]
        if not targets:
            return False
        offer = self._offer(connection, run_seq)
        back = [each for each in targets if each.goes_back]
        bad = [each for each in targets if not each.goes_back and self._is_bad(each, offer)]
        good = [each for each in targets if not each.goes_back and not self._is_bad(each, offer)]
        self._go_back(connection, run_seq, back, now)
        self._fail(connection, run_seq, bad, now)
        self._complete(connection, run_seq, good, now)
        return bool(back or bad)

    def _complete(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]], now: int
    ) -> None:
        offer = self._offer(connection, run_seq)
        by_package: dict[tuple[str, str], list[int]] = defaultdict(list)
        for each in targets:
            by_package[each.sha256 or "", each.arm or ""].append(each.device_seq)
        for (sha256, arm), devices in sorted(by_package.items()):
            release = offer.release(sha256 or None, arm or None)
            assert release is not None
            component = targets[0].component
            ran = played.Ran(release.version, release.sha256, release.rollback_index)
            played.run_release(connection, devices, component, ran, now)
            played.end(connection, run_seq, devices, TargetState.COMPLETED, "", now)
        self._later(now, _again_s, Step.VERIFIED, run_seq, targets)

    def _fail(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]], now: int
    ) -> None:
        """It goes back by itself; what ran nothing before has nowhere to go."""
        targets = [each for each in targets if each.status in _BUSY]
        self.harmed[run_seq] += len(targets)
        had = [each.device_seq for each in targets if each.from_sha256 is not None]
        had_none = [each.device_seq for each in targets if each.from_sha256 is None]
        played.end(connection, run_seq, had, TargetState.ROLLED_BACK, "HealthCheckFailed", now)
        played.end(connection, run_seq, had_none, TargetState.FAILED, "NoPrevious", now)
        for each in targets:
            inventory.set_known_bad(connection, each.device_seq, run_seq)

    def _go_back(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]], now: int
    ) -> None:
        """They run what they came from, as a person or the Policy wanted."""
        if not targets:
            return
        devices = [each.device_seq for each in targets]
        reason = runs.get_run(connection, run_seq).goes_back or "RolledBackByUser"
        played.run_former(connection, run_seq, devices, now)
        played.end(connection, run_seq, devices, TargetState.ROLLED_BACK, reason, now)

    def _is_bad(self, target: Row[Any], offer: Offer) -> bool:
        release = offer.release(target.sha256, target.arm)
        assert release is not None
        rate = self._rates[target.label_set_id]
        return rate > 0 and self.chance.is_bad(target.device_seq, release.sha256, rate)

    def _offer(self, connection: Connection, run_seq: int) -> Offer:
        """What a run offers; the head of a rehearsal stays, so that it is read once."""
        if run_seq not in self._offers:
            run = runs.get_run(connection, run_seq)
            self._offers[run_seq] = Offer.parse(run.offer, run.target_version)
        return self._offers[run_seq]

    def _later(
        self, now: int, length: Any, step: Step, run_seq: int, targets: Iterable[Row[Any]]
    ) -> None:
        for target in targets:
            self._queue.add(now, length(target), step, run_seq, target.device_seq)
            self._at_work.add((run_seq, target.device_seq))

    def _download_s(self, _target: Row[Any]) -> float:
        return self.chance.length(self.model.lengths.download_s)

    def _install_s(self, target: Row[Any]) -> float:
        """What is not staged yet is downloaded first; what goes back lies there."""
        is_there = target.staged_at is not None or target.goes_back
        return (0.0 if is_there else self._download_s(target)) + self._left_s(target)

    def _left_s(self, _target: Row[Any]) -> float:
        lengths = self.model.lengths
        return self.chance.length(lengths.install_s) + self.chance.length(lengths.verify_s)


def _again_s(_target: Row[Any]) -> float:
    return _REPORTS_AGAIN_S


def _is_awaited(target: Row[Any]) -> bool:
    """At work still, or given up as too late: a late end counts, too."""
    return target.status in _BUSY or target.reason == "TimedOut"
