"""Making a simulation: play a head several times over copies of one private store."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from towline.reconciler.failure_model import Chance, FailureModel, Lengths
from towline.reconciler.head import Head
from towline.reconciler.played_fleet import PlayedFleet
from towline.reconciler.rehearsal import Rehearsal
from towline.reconciler.simulate import SimulatedDeployment, Simulation
from towline.reconciler.simulate_outcome import Outcome, read_outcome, together
from towline.reconciler.store import played_reading, runs
from towline.reconciler.store.engine import Store
from towline.reconciler.store.plan_reading import median
from towline.reconciler.store.private_copy import empty_copy, overwrite
from towline.reconciler.trial import Trial
from towline.schemas import times

RUNS = 20
DEVICES_PLAYED = 100_000
"""In all runs together, unless a number of runs is asked for."""
FINEST, COARSEST = 10, 2
"""Ticks of a poll interval in a small fleet, and in a large one, which is looked at less often."""
FINE_BELOW = 1000
"""Devices up to which ticks are finest."""


@dataclass(frozen=True, slots=True)
class LengthsAsked:
    """Medians that a person gave, in seconds; None: the fleet's own past, or a guess."""

    download_s: int | None = None
    install_s: int | None = None
    verify_s: int | None = None


@dataclass(frozen=True, slots=True)
class SimulateOptions:
    """How a simulation is asked for."""

    starts_at: int
    poll_interval_s: int
    source: str
    model: FailureModel
    """Its lengths are those of `lengths`, completed."""
    lengths: LengthsAsked = LengthsAsked()
    seed: int = 1
    runs: int | None = None
    people_after_s: int = 0
    only: tuple[str, ...] = ()
    """Deployments to tell of; empty: all that the commit moves."""


def runs_for(devices: int) -> int:
    """How many runs a fleet of this size gets where nobody says."""
    return max(1, min(RUNS, DEVICES_PLAYED // max(1, devices)))


def tick_for(devices: int, poll_interval_s: int) -> int:
    """Seconds from tick to tick."""
    finest, coarsest = poll_interval_s / FINEST, poll_interval_s / COARSEST
    return max(1, round(min(coarsest, max(finest, finest * devices / FINE_BELOW))))


def make_simulation(
    store: Store, base: Head | None, head: Head, options: SimulateOptions
) -> Simulation:
    """Play `head` over copies of `store`; the seed decides everything that is drawn."""
    return _Simulator(store, base, head, options).make()


class _Simulator:
    """The runs of one simulation."""

    def __init__(
        self, store: Store, base: Head | None, head: Head, options: SimulateOptions
    ) -> None:
        self.store, self.head, self.options = store, head, options
        self.scratch = empty_copy()
        self.trial = Trial(base, head)
        with store.write() as connection:
            self.trial.put_in_force(connection)
            names = self.trial.names(connection)
            organization = head.organization
            newest = {name: runs.newest_run(connection, organization, name) for name in names}
            self.played = [name for name in names if self.trial.is_played(name, newest[name])]
            self.devices = played_reading.active_devices(connection, organization)
            components = {each.component for each in head.deployments.values()}
            past = [
                row
                for component in sorted(components)
                for row in played_reading.past_steps(connection, organization, component)
            ]
        self.model = _with_lengths(options, past)
        self.tick_s = tick_for(self.devices, options.poll_interval_s)

    def make(self) -> Simulation:
        options = self.options
        count = options.runs or runs_for(self.devices)
        wanted = options.only or tuple(self.played)
        outcomes: dict[str, list[Outcome]] = {name: [] for name in wanted}
        for number in range(count):
            for name, outcome in self._play(number).items():
                if name in outcomes:
                    outcomes[name].append(outcome)
        return Simulation(
            organization=self.head.organization,
            source=options.source,
            head=self.head.commit.sha,
            starts_at=times.to_rfc3339(options.starts_at),
            devices=self.devices,
            runs=count,
            seed=options.seed,
            poll_interval_s=options.poll_interval_s,
            tick_s=self.tick_s,
            people_after_s=options.people_after_s,
            model=self.model,
            deployments=tuple(self._told(name, outcomes[name]) for name in wanted),
        )

    def _told(self, name: str, outcomes: Sequence[Outcome]) -> SimulatedDeployment:
        manifest = self.head.deployments.get(name)
        return together(name, manifest.target_version if manifest else "", outcomes)

    def _play(self, number: int) -> dict[str, Outcome]:
        """One run, with a seed of its own."""
        options = self.options
        overwrite(self.scratch, self.store)
        fleet = PlayedFleet(
            self.model,
            Chance(f"{options.seed}/{number}"),
            poll_interval_s=options.poll_interval_s,
            tick_s=self.tick_s,
            freezes=self.head.freezes,
        )
        rehearsal = Rehearsal(
            self.scratch,
            self.trial.played_head,
            fleet,
            now=options.starts_at,
            poll_interval_s=options.poll_interval_s,
            people_after_s=options.people_after_s,
        )
        stories = rehearsal.play(self.played)
        found = {}
        for name, story in stories.items():
            run = rehearsal.run(name)
            if run is None or not story.moved_at:
                continue
            with self.scratch.read() as connection:
                harmed = fleet.harmed[run.seq]
                found[name] = read_outcome(connection, run, story, harmed, rehearsal.started_at)
        return found


def _with_lengths(
    options: SimulateOptions, past: Sequence[played_reading.PastSteps]
) -> FailureModel:
    """What was asked for, else what the past says, else a guess; checks count as installing."""
    asked, guess = options.lengths, Lengths()
    download_s = median([each.download_s for each in past if each.download_s is not None])
    install_s = median([each.install_s for each in past])
    verify_s = guess.verify_s if install_s is None or asked.install_s is not None else 0
    lengths = Lengths(
        download_s=_first(asked.download_s, download_s, guess.download_s),
        install_s=_first(asked.install_s, install_s, guess.install_s),
        verify_s=_first(asked.verify_s, verify_s),
    )
    return replace(options.model, lengths=lengths)


def _first(*values: int | None) -> int:
    return next(value for value in values if value is not None)
