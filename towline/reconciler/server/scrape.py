"""One scrape of `/metrics`: what happened since the start, and what stands now.

A scrape reads plain numbers and asks the store some questions. Each organization's viewers see its
own figures, beside those of the one process: queue, flushes, memory, processor.
"""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from towline.reconciler.server.desk import Desk, wall_clock
from towline.reconciler.server.fleets import FleetView
from towline.reconciler.server.metrics import Meters
from towline.reconciler.store import admissions, audit_rows, fleet_counts, leader
from towline.reconciler.tallies import BOUNDS_S, POLLS, REPORTS, TURNED_AWAY, Durations
from towline.schemas.states import RunState


def taken(meters: Meters, desk: Desk, accept: str) -> tuple[bytes, str]:
    """The figures as whoever asks accepts them, and their content type."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Figures(meters, desk))
    ProcessCollector(registry=registry)
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Figures(Collector):
    """Everything of one scrape."""

    def __init__(self, meters: Meters, desk: Desk) -> None:
        self._meters = meters
        self._desk = desk

    def collect(self) -> Iterator[Metric]:
        """In the order of docs/metrics.md."""
        yield from self._of_devices()
        yield from self._of_the_inlet()
        if self._desk.fleet is not None:
            yield from self._of_the_loop(self._desk.fleet)
            yield from _of_trust(self._desk.fleet)
        yield from self._of_the_store()

    def _of_devices(self) -> Iterator[Metric]:
        tally, name = self._meters.devices, self._desk.organization
        # What is counted from 0 on is seen from its first event on: rate() needs a number before.
        for what, about, outcomes, counts in (
            ("polls", "Polls that were answered", POLLS, tally.polls),
            ("reports", "Reports of devices", REPORTS, tally.reports),
        ):
            found = CounterMetricFamily(f"towline_{what}", about, labels=["outcome"])
            for outcome in outcomes:
                found.add_metric([outcome], counts[name, outcome])
            yield found
        away = CounterMetricFamily(
            "towline_turned_away", "Calls of devices that were not served", labels=["reason"]
        )
        for reason in TURNED_AWAY:
            away.add_metric([reason], tally.turned_away[reason])
        yield away
        parked = self._meters.doorbell.parked
        yield GaugeMetricFamily("towline_parked_polls", "Devices that wait", parked)

    def _of_the_inlet(self) -> Iterator[Metric]:
        inlet = self._meters.inlet
        waiting = "Requests whose reports wait to be written"
        yield GaugeMetricFamily("towline_report_queue", waiting, inlet.waiting)
        yield _histogram("towline_flush_seconds", "Commits of reports", inlet.tally.flushes)
        failed = inlet.tally.failed_flushes
        yield CounterMetricFamily("towline_flush_failures", "Commits that failed", failed)
        behind_s = self._meters.clock.behind_s()
        behind = "Behind the newest time in the store; nothing is signed meanwhile"
        yield GaugeMetricFamily("towline_clock_behind_seconds", behind, behind_s)

    def _of_the_loop(self, fleet: FleetView) -> Iterator[Metric]:
        tally = fleet.tally
        leads = "1 where this process leads, 0 where it stands by or serves only"
        yield GaugeMetricFamily("towline_leader", leads, int(fleet.leads()))
        yield _histogram("towline_pass_seconds", "Passes of the reconciler", tally.passes)
        failed = tally.failed_passes
        yield CounterMetricFamily("towline_pass_failures", "Passes that ended in an error", failed)
        yield _histogram("towline_git_look_seconds", "Looks at the branch", tally.git_looks)
        failed = tally.failed_git_looks
        yield CounterMetricFamily("towline_git_look_failures", "Looks that failed", failed)
        fetch_s = fleet.repository.fetch_s if fleet.repository else None
        if fetch_s is not None:
            yield GaugeMetricFamily("towline_git_fetch_seconds", "The last fetch took", fetch_s)
        seen = "When the branch was last seen as it is at its source"
        yield GaugeMetricFamily("towline_git_seen_timestamp_seconds", seen, tally.git_seen_at)

    def _of_the_store(self) -> Iterator[Metric]:
        desk = self._desk
        with desk.store.read() as connection:
            counted = fleet_counts.devices(connection, desk.organization, desk.seen_after())
            out = fleet_counts.shut_out(connection, desk.organization)
            waiting = admissions.count(connection, desk.organization, wall_clock())
            runs = fleet_counts.runs_by_status(connection, desk.organization)
            term = leader.term(connection)
            audit = audit_rows.end(connection, desk.organization)
        if term is not None:
            elections = "The number of the newest election"
            yield GaugeMetricFamily("towline_leader_epoch", elections, term.epoch)
        yield GaugeMetricFamily("towline_audit_acts", "Acts of people", audit.number)
        head = "The first 13 digits of the newest act's hash, as a number"
        yield GaugeMetricFamily("towline_audit_head", head, int(audit.hash[:13], 16))
        devices = GaugeMetricFamily("towline_devices", "Devices enrolled", labels=["presence"])
        devices.add_metric(["online"], counted.online)
        devices.add_metric(["offline"], counted.offline)
        yield devices
        refusing = "Devices that refuse their document"
        yield GaugeMetricFamily("towline_devices_refusing", refusing, counted.refusing)
        shut_out = GaugeMetricFamily("towline_devices_out", "Devices shut out", labels=["state"])
        for state, n in out.items():
            shut_out.add_metric([state], n)
        yield shut_out
        yield GaugeMetricFamily("towline_enrolments", "Keys that wait to be admitted", waiting)
        by_status = GaugeMetricFamily("towline_runs", "Runs of all revisions", labels=["status"])
        for state in RunState:
            by_status.add_metric([state.value], runs.get(state.value, 0))
        yield by_status


def _of_trust(fleet: FleetView) -> Iterator[Metric]:
    root = fleet.root()
    if root is None:
        return
    left = root.expires - wall_clock()
    yield GaugeMetricFamily("towline_root_expires_seconds", "Until the newest root ends", left)
    yield GaugeMetricFamily("towline_root_version", "The newest root", root.version)
    named = 1 if fleet.online_key() else 0
    yield GaugeMetricFamily("towline_online_key_named", "1 where documents are signed", named)


def _histogram(name: str, about: str, durations: Durations) -> HistogramMetricFamily:
    buckets, total = [], 0
    for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), durations.counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return HistogramMetricFamily(name, about, buckets=buckets, sum_value=durations.total_s)
