"""A played fleet under a loop that sleeps, and the people and figures that act on its runs.

`sleep` passes over a Deployment only when it is dirty or a stored clock of it is due, as the loop
does: whatever a rule forgets to store is never looked at again.
"""

from dataclasses import replace

from sqlalchemy import Select, select

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, attempt_of
from towline.manifests.load import load
from towline.reconciler.acts import Act, act
from towline.reconciler.ingest import mark_fetched
from towline.reconciler.passing import pass_over
from towline.reconciler.store import analyses, dirt
from towline.reconciler.store import tables as t
from towline.reconciler.store.analyses import Answer, Outcome
from towline.reconciler.store.presence import mark_seen
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.states import TargetState, Verb

HOUR = 3600
DAY = 24 * HOUR
ROUNDS = 60
"""More than any fleet here needs to come to rest."""


def sleep(fleet: Simulation, seconds: int) -> None:
    """Let time pass; the loop wakes at the store's clocks and when devices report."""
    end = fleet.now + seconds
    work(fleet)
    while (due := next_due(fleet)) is not None and due <= end:
        fleet.now = due
        work(fleet)
    fleet.now = end
    stay_in_touch(fleet)


def work(fleet: Simulation) -> None:
    """Devices act on their documents, and what they report is looked at, until all is quiet."""
    stay_in_touch(fleet)
    for _ in range(ROUNDS):
        names = _to_look_at(fleet)
        if not names:
            return
        for name in names:
            pass_over(fleet.store, fleet.head, name, fleet.now, POLL_S)
        for device in fleet.devices.values():
            if device.is_online:
                fleet.poll(device)
    raise AssertionError("the loop never rests: a clock that ran out is still stored")


def stay_in_touch(fleet: Simulation) -> None:
    """Online devices polled all the time, and heard nothing new."""
    seen = {device.seq: fleet.now for device in fleet.devices.values() if device.is_online}
    with fleet.store.write() as connection:
        mark_seen(connection, seen)


def _to_look_at(fleet: Simulation) -> set[str]:
    with fleet.store.write() as connection:
        dirty = dirt.take(connection, ORGANIZATION)
        return {*dirty, *dirt.due(connection, ORGANIZATION, fleet.now)}


def next_due(fleet: Simulation) -> int | None:
    """When the loop would wake by itself."""
    with fleet.store.read() as connection:
        return dirt.ahead(connection, ORGANIZATION).next_due


def held(fleet: Simulation, name: str = "app") -> set[str]:
    """The reasons of the holds that stand."""
    run = fleet.run(name)
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.holds.c.reason).where(
                t.holds.c.deployment == name,
                t.holds.c.run_seq.is_(None) | (t.holds.c.run_seq == run.seq),
            )
        )
        return set(rows.scalars())


def shown(fleet: Simulation) -> tuple[str, str]:
    """The run's status word and reason."""
    run = fleet.run()
    return run.status, run.reason


def granted(fleet: Simulation) -> set[str]:
    """Devices that hold a grant of the newest run and have no verdict."""
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.edge_devices.c.slug)
            .join(t.targets, t.targets.c.device_seq == t.edge_devices.c.seq)
            .where(
                t.targets.c.run_seq == fleet.run().seq,
                t.targets.c.granted_at.is_not(None),
                t.targets.c.status.in_(["pending", "downloading", "installing", "verifying"]),
            )
        )
        return set(rows.scalars())


def installed(fleet: Simulation, version: str) -> set[str]:
    """Devices that run this version."""
    return {
        name
        for name, device in fleet.devices.items()
        if "app" in device.installed and device.installed["app"].version == version
    }


def ask(fleet: Simulation, asked: Act | Verb, who: str = "ops", *, accept: bool = False) -> None:
    """A person's act on the newest run, and the pass that it causes."""
    act(
        fleet.store,
        ORGANIZATION,
        fleet.run().id,
        asked if isinstance(asked, Act) else Act(asked, accept=accept),
        author=who,
        reason="because",
        now=fleet.now,
    )
    fleet.settle()


def put_policy(fleet: Simulation, spec: str) -> None:
    """A commit that changes the repository's Policy alone."""
    head = f"apiVersion: towline/v1\nkind: Policy\nmetadata: {{name: house}}\nspec: {spec}\n"
    loaded = load({"policy.yaml": head.encode()})
    assert not loaded.errors, [str(error) for error in loaded.errors]
    fleet.head = replace(fleet.head, policies=loaded.policies)
    fleet.settle()


def answer(fleet: Simulation, *outcomes: Outcome, name: str = "crashes") -> None:
    """The figure of the newest batch is asked once for each outcome, a minute apart."""
    run = fleet.run()
    for outcome in outcomes:
        fleet.now += 60
        with fleet.store.write() as connection:
            number = len(connection.execute(_batches_of(run.seq)).all()) - 1
            said = Answer(fleet.now, outcome, "1", f"it is {outcome}")
            analyses.write(connection, run.seq, number, name, said)
            dirt.mark(connection, ORGANIZATION, run.deployment)
        work(fleet)


def _batches_of(run_seq: int) -> Select[tuple[int]]:
    return select(t.batches.c.number).where(t.batches.c.run_seq == run_seq)


def begin(fleet: Simulation, name: str, state: TargetState, reason: str = "") -> ComponentWanted:
    """A granted device fetches its document, reports that it is so far, and gets no further."""
    device = fleet.devices[name]
    (component,) = device.etag = fleet.wanted(device)
    assert component.action is ComponentAction.INSTALL
    with fleet.store.write() as connection:
        mark_fetched(connection, fleet.now, {(device.seq, "app")})
    fleet.report(device, attempt_of(component, state, reason))
    return component


def wait_for_window(fleet: Simulation, *names: str) -> None:
    """Granted devices whose deviceTimeout stands still, though they stay in touch."""
    for name in names:
        begin(fleet, name, TargetState.PENDING, "WaitingForWindow")


def go_on(fleet: Simulation, name: str) -> None:
    """A device that got no further installs now."""
    fleet.devices[name].etag = None
    fleet.poll(fleet.devices[name])
    fleet.poll(fleet.devices[name])


def break_for(fleet: Simulation, version: str, *names: str) -> None:
    """Their health checks fail for one version."""
    for name in names:
        fleet.devices[name].breaks = lambda wanted: wanted == version
