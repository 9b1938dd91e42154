"""Words for what a played fleet shows: its targets, its documents, who is granted, what holds."""

from copy import deepcopy
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, select, update

from tests.reconciler.simulation import ORGANIZATION, Simulation, attempt_of
from tests.stores import copy_store
from towline.reconciler.device_acts import act_on_device
from towline.reconciler.store import runs
from towline.reconciler.store import tables as t
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.reports import Installed
from towline.schemas.states import ACTIVE_TARGETS, TargetState, Verb

AT_ONCE = "  strategy: immediate\n"
ONE = AT_ONCE + "  maxConcurrent: 1\n  order: name\n"
DAY_S = 24 * 3600


def twin(fleet: Simulation, folder: Path) -> Simulation:
    """A fleet that lived through the same: a copy is made much sooner than a rollout."""
    copy_store(fleet.store, folder / "towline.db")
    copy = Simulation(folder, devices=0)
    copy.now, copy.head, copy.commits = fleet.now, fleet.head, fleet.commits
    copy.devices = deepcopy(fleet.devices)
    return copy


def installed(fleet: Simulation, name: str = "app") -> dict[str, str]:
    """The version that each device runs; who runs none is left out."""
    return {
        device.name: device.installed[name].version
        for device in fleet.devices.values()
        if name in device.installed
    }


def ship(fleet: Simulation, text: str, steps: int = 4) -> None:
    """Commit one manifest and let it roll out."""
    fleet.commit(text)
    fleet.step(steps)


def target(fleet: Simulation, device: str, version: str = "", name: str = "app") -> Row[Any]:
    """A device's target in the newest run, or in the newest of `version`."""
    with fleet.store.read() as connection:
        return connection.execute(
            select(t.targets)
            .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
            .where(
                t.runs.c.deployment == name,
                t.runs.c.target_version == (version or fleet.run(name).target_version),
                t.targets.c.device_seq == fleet.devices[device].seq,
            )
            .order_by(t.runs.c.seq.desc())
        ).first()  # type: ignore[return-value]


def outcome(fleet: Simulation, device: str, version: str = "", name: str = "app") -> list[str]:
    """How a target stands, in words."""
    found = target(fleet, device, version, name)
    return [found.status, found.reason]


def change_target(fleet: Simulation, device: str, **values: Any) -> None:
    """Put a target of the newest run into a state."""
    with fleet.store.write() as connection:
        connection.execute(
            update(t.targets)
            .where(
                t.targets.c.run_seq == fleet.run().seq,
                t.targets.c.device_seq == fleet.devices[device].seq,
            )
            .values(**values)
        )


def component(fleet: Simulation, device: str, name: str = "app") -> ComponentWanted | None:
    """What the device's document says of a component."""
    found = fleet.wanted(fleet.devices[device])
    return next((each for each in found if each.name == name), None)


def told(fleet: Simulation, device: str, name: str = "app") -> tuple[str, str] | None:
    """Action and version of the device's document."""
    found = component(fleet, device, name)
    return None if found is None else (found.action.value, found.version)


def say(fleet: Simulation, device: str, *states: TargetState | str) -> ComponentWanted:
    """The device reports steps of what it is told; a word is the reason while it is pending."""
    found = component(fleet, device)
    assert found is not None
    for state in states:
        if isinstance(state, TargetState):
            fleet.report(fleet.devices[device], attempt_of(found, state))
        else:
            fleet.report(fleet.devices[device], attempt_of(found, TargetState.PENDING, state))
    return found


def finish(fleet: Simulation, device: str, found: ComponentWanted) -> None:
    """The device completes what it had begun."""
    it = fleet.devices[device]
    it.installed[found.name] = Installed(found.version, found.sha256)
    fleet.report(it, attempt_of(found, TargetState.COMPLETED))


def drift(fleet: Simulation, *devices: str) -> None:
    """Somebody puts another package on the devices."""
    for device in devices:
        fleet.devices[device].installed["app"] = Installed("0.0.1", "ee" * 32)
        fleet.report(fleet.devices[device])
    fleet.settle()


def go_online(fleet: Simulation, device: str, is_online: bool = True) -> None:
    """Connect or cut a device."""
    fleet.devices[device].is_online = is_online


def granted(fleet: Simulation, *names: str) -> list[str]:
    """The devices that hold a grant without having ended, over these Deployments or all."""
    with fleet.store.read() as connection:
        rows = connection.execute(
            select(t.edge_devices.c.slug)
            .join(t.targets, t.targets.c.device_seq == t.edge_devices.c.seq)
            .join(t.runs, t.runs.c.seq == t.targets.c.run_seq)
            .where(
                t.targets.c.granted_at.is_not(None),
                t.targets.c.status.in_([state.value for state in ACTIVE_TARGETS]),
                t.runs.c.deployment.in_(names) if names else t.runs.c.seq > 0,
            )
            .order_by(t.edge_devices.c.slug)
        )
        return list(rows.scalars())


def told_to(fleet: Simulation, action: ComponentAction, name: str = "app") -> list[str]:
    """The devices whose documents say so."""
    return [
        device
        for device in sorted(fleet.devices)
        if (told(fleet, device, name) or "")[:1] == (action.value,)
    ]


def holds(fleet: Simulation, name: str = "app") -> list[str]:
    """The holds in force."""
    with fleet.store.read() as connection:
        found = runs.holds_of(connection, ORGANIZATION, name, fleet.run(name).seq)
        return sorted(hold.reason for hold in found)


def state(fleet: Simulation, name: str = "app") -> tuple[str, str]:
    """Status and reason of the newest run."""
    run = fleet.run(name)
    return run.status, run.reason


def device_verb(
    fleet: Simulation, verb: Verb, device: str, previous: str | None = None, name: str = "app"
) -> None:
    """A person's act on one device."""
    act_on_device(
        fleet.store,
        ORGANIZATION,
        fleet.run(name).id,
        device,
        verb,
        author="ops",
        reason="because",
        now=fleet.now,
        previous_version=previous,
    )
    fleet.settle()


def known_bad(fleet: Simulation) -> int:
    """How many devices know a package as bad."""
    with fleet.store.read() as connection:
        return connection.execute(
            select(func.count()).where(t.device_components.c.known_bad.is_not(None))
        ).scalar_one()
