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
from towline.reconciler.offer import Offer, OfferedRelease
from towline.reconciler.played_lengths import REPORTS_AGAIN_S, DrawnLengths
from towline.reconciler.played_queue import NO_RUN, Queue, Step
from towline.reconciler.played_windows import Openings
from towline.reconciler.store import played, played_reading, runs
from towline.schemas.states import BUSY_TARGETS, TargetState

Times = Mapping[int, float]
"""Devices, each with the time of what it does, which is not after the tick."""
_BUSY = [state.value for state in BUSY_TARGETS]


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
        self._lengths = DrawnLengths(model.lengths, chance)
        self._freezes = freezes
        self._away: set[int] = set()
        self._rung: set[int] = set()
        """Devices that fetch a changed document at their next poll."""
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
                back_at = now + self.chance.length(self.model.offline_for_s)
                self._queue.add(back_at, Step.BACK, NO_RUN, device)
        self.ring(played_reading.unfinished_devices(connection), now)

    def ring(self, devices: Collection[int], now: int) -> None:
        """They see what changed when they poll next, at a later tick.

        What they are rung for happened somewhere in the tick that is over: in its middle, as far
        as the mean of all goes.
        """
        since = now - self._queue.tick_s / 2
        for device in sorted(devices):
            if device not in self._away and device not in self._rung:
                self._rung.add(device)
                at = since + self.chance.share() * self.poll_interval_s
                self._queue.add(at, Step.POLLED, NO_RUN, device, after=now)

    def answer(self, connection: Connection, run: Row[Any], *, is_held: bool, now: int) -> bool:
        """Take the steps of all devices that are due, whichever run they are of.

        What no decision looks at, a fetch or the begin of an install, is no move.
        """
        has_moved = False
        for step, run_seq, devices in self._queue.due(now):
            match step:
                case Step.BACK:
                    has_moved |= self._come_back(connection, devices, now)
                case Step.POLLED:
                    has_moved |= self._poll(connection, devices, now)
                case Step.STAGED:
                    has_moved |= played.stage(connection, run_seq, devices, now)
                case Step.OPENED:
                    targets = played_reading.targets_of(connection, devices, run_seq)
                    has_moved |= self._install(connection, run_seq, targets, devices, now)
                case Step.ENDED:
                    has_moved |= self._end(connection, run_seq, devices, now)
                case Step.VERIFIED:
                    has_moved |= played.verify(connection, run_seq, devices, now)
                case Step.LATE:
                    has_moved |= any(self._queue.is_at_work(run_seq, each) for each in devices)
        return has_moved

    def next_time(self) -> int | None:
        """When a device acts next."""
        return self._queue.next_at

    def _come_back(self, connection: Connection, devices: Times, now: int) -> bool:
        self._away.difference_update(devices)
        played.see(connection, devices, played.NEVER_SILENT)
        return self._poll(connection, devices, now) or True

    def _poll(self, connection: Connection, devices: Times, now: int) -> bool:
        """Fetch the documents, and begin what they ask for."""
        self._rung.difference_update(devices)
        by_run: dict[int, list[Row[Any]]] = defaultdict(list)
        for target in played_reading.targets_of(connection, devices):
            if not self._queue.is_at_work(target.run_seq, target.device_seq):
                by_run[target.run_seq].append(target)
        waits = [
            self._obey(connection, run_seq, targets, devices, now)
            for run_seq, targets in sorted(by_run.items())
        ]
        return any(waits)

    def _obey(
        self,
        connection: Connection,
        run_seq: int,
        targets: Sequence[Row[Any]],
        polled: Times,
        now: int,
    ) -> bool:
        """Do what the documents say; True when one waits for a window."""
        granted = [each for each in targets if each.granted_at is not None]
        pending = [each for each in granted if each.status == TargetState.PENDING.value]
        waits = self._install(connection, run_seq, pending, polled, now)
        busy = [each for each in granted if each.status in _BUSY]
        self._later(polled, self._lengths.left_s, Step.ENDED, run_seq, busy)
        done = [each for each in targets if each.status == TargetState.COMPLETED.value]
        self._later(polled, self._lengths.again_s, Step.VERIFIED, run_seq, done)
        selected = [
            each
            for each in targets
            if each.granted_at is None and each.staged_at is None and not each.goes_back
        ]
        timeout_s = self._offer(connection, run_seq).device_timeout_s
        unheard = [each.device_seq for each in selected if each.prepared_at is None]
        played.prepare(connection, run_seq, unheard, now, timeout_s)
        self._later(polled, self._lengths.download_s, Step.STAGED, run_seq, selected)
        unfetched = [each.device_seq for each in pending if each.fetched_at is None]
        for device in (*unfetched, *unheard):
            self._queue.add(now + timeout_s, Step.LATE, run_seq, device)
        return waits

    def _install(
        self,
        connection: Connection,
        run_seq: int,
        targets: Sequence[Row[Any]],
        since: Times,
        now: int,
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
                self._queue.add(at, Step.OPENED, run_seq, target.device_seq)
        timeout_s = offer.device_timeout_s
        beginning = [each.device_seq for each in begins]
        played.begin(connection, run_seq, beginning, now, timeout_s)
        self._later(since, self._lengths.install_s, Step.ENDED, run_seq, begins)
        played.wait(connection, run_seq, waits, now, timeout_s)
        return bool(waits)

    def _end(self, connection: Connection, run_seq: int, devices: Times, now: int) -> bool:
        """Installs are over: True when one has its verdict; a success is verified first."""
        targets = [
            each
            for each in played_reading.targets_of(connection, devices, run_seq)
            if _is_awaited(each)
        ]
        if not targets:
            return False
        offer = self._offer(connection, run_seq)
        back = [each for each in targets if each.goes_back]
        forth = [each for each in targets if not each.goes_back]
        bad = {each.device_seq for each in forth if self._is_bad(each, offer)}
        self._go_back(connection, run_seq, back, now)
        failed = [each for each in forth if each.device_seq in bad]
        self._fail(connection, run_seq, failed, now)
        good = [each for each in forth if each.device_seq not in bad]
        is_verified = self._complete(connection, run_seq, good, devices, now)
        return bool(back or bad) or is_verified

    def _complete(
        self,
        connection: Connection,
        run_seq: int,
        targets: Sequence[Row[Any]],
        ended: Times,
        now: int,
    ) -> bool:
        """They run the release; True when one reported again already."""
        has_verdict = False
        for (component, release), devices in self._by_release(connection, run_seq, targets):
            ran = played.Ran(release.version, release.sha256, release.rollback_index)
            played.run_release(connection, devices, component, ran, now)
            again = [each for each in devices if ended[each] + REPORTS_AGAIN_S <= now]
            rest = [each for each in devices if ended[each] + REPORTS_AGAIN_S > now]
            completed = TargetState.COMPLETED
            played.end(connection, run_seq, again, completed, "", now, is_verified=True)
            played.end(connection, run_seq, rest, completed, "", now)
            for device in rest:
                self._queue.add(ended[device] + REPORTS_AGAIN_S, Step.VERIFIED, run_seq, device)
            has_verdict |= bool(again)
        return has_verdict

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
        for (component, release), devices in self._by_release(connection, run_seq, targets):
            played.know_bad(connection, devices, component, release.sha256)

    def _by_release(
        self, connection: Connection, run_seq: int, targets: Sequence[Row[Any]]
    ) -> list[tuple[tuple[str, OfferedRelease], list[int]]]:
        """Devices by component and by the release that the run has for them."""
        offer = self._offer(connection, run_seq)
        found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for each in targets:
            found[each.component, each.sha256 or "", each.arm or ""].append(each.device_seq)
        return [
            ((component, _release(offer, sha256, arm)), devices)
            for (component, sha256, arm), devices in sorted(found.items())
        ]

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
        rate = self._rates[target.label_set_id]
        if not rate:
            return False
        release = _release(offer, target.sha256, target.arm)
        return self.chance.is_bad(target.device_seq, release.sha256, rate)

    def _offer(self, connection: Connection, run_seq: int) -> Offer:
        """What a run offers; the head of a rehearsal stays, so that it is read once."""
        if run_seq not in self._offers:
            run = runs.get_run(connection, run_seq)
            self._offers[run_seq] = Offer.parse(run.offer, run.target_version)
        return self._offers[run_seq]

    def _later(
        self, since: Times, length: Any, step: Step, run_seq: int, targets: Iterable[Row[Any]]
    ) -> None:
        for target in targets:
            device = target.device_seq
            self._queue.add(since[device] + length(target), step, run_seq, device)


def _release(offer: Offer, sha256: str | None, arm: str | None) -> OfferedRelease:
    release = offer.release(sha256 or None, arm or None)
    assert release is not None
    return release


def _is_awaited(target: Row[Any]) -> bool:
    """At work still, or given up as too late: a late end counts, too."""
    return target.status in _BUSY or target.reason == "TimedOut"
