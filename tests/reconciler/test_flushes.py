"""Reports that are taken in by one transaction leave the store as each in its own would."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.reconciler.looking import AT_ONCE, ship, twin
from tests.reconciler.simulation import (
    Simulation,
    attempt_of,
    checksum,
    manifest,
)
from tests.soaking import examples
from towline.reconciler.ingest import commit_reports
from towline.reconciler.store import tables as t
from towline.schemas.reports import Attempt, Installed, Report
from towline.schemas.states import TargetState

DEVICES = (1, 2, 3)
COMPONENTS = ("app", "db")
VERSIONS = ("1.0.0", "2.0.0", "9.9.9")
numbers = itertools.count()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """Runs that are completed, verified, at work and granted, of two components."""
    made = Simulation(tmp_path_factory.mktemp("base"), devices=len(DEVICES))
    ship(made, manifest("1.0.0", AT_ONCE))
    for device in made.devices.values():
        device.breaks = lambda wanted: False
    made.devices["till-3"].is_online = False
    made.commit(manifest("1.0.0", AT_ONCE), manifest("1.0.0", AT_ONCE, "db"))
    made.step()
    made.commit(manifest("2.0.0", AT_ONCE), manifest("1.0.0", AT_ONCE, "db"))
    return made


@st.composite
def reports(draw: st.DrawFn) -> list[tuple[int, dict[str, Any]]]:
    """Of a few devices, in any order, with repeats and old numbers; attempts by their component."""
    said = st.fixed_dictionaries(
        {
            "journal": st.sampled_from(("j", "j", "k")),
            "report_seq": st.integers(1, 40),
            "last_sequence": st.integers(0, 3),
            "rejected": st.sampled_from(("", "", "", "expired")),
            "facts": st.sampled_from(
                ({}, {"kernel": "é"}, {"timeZone": "UTC"}, {"timeZone": "Europe/Rome", "n": 2**70})
            ),
            "versions": st.dictionaries(
                st.sampled_from(COMPONENTS), st.sampled_from(VERSIONS), max_size=2
            ),
            "step": st.none()
            | st.tuples(st.sampled_from(COMPONENTS), st.sampled_from(sorted(STEPS))),
        }
    )
    return draw(st.lists(st.tuples(st.sampled_from(DEVICES), said), min_size=2, max_size=12))


STEPS = {
    "downloading": (TargetState.DOWNLOADING, ""),
    "installing": (TargetState.INSTALLING, ""),
    "verifying": (TargetState.VERIFYING, ""),
    "completed": (TargetState.COMPLETED, ""),
    "failed": (TargetState.FAILED, "NoPrevious"),
    "rolled_back": (TargetState.ROLLED_BACK, "HealthCheckFailed"),
    "waits": (TargetState.PENDING, "Locked"),
}


def spoken(said: dict[str, Any], attempts: dict[str, Attempt]) -> Report:
    """The report as it comes from the wire; a step of what the device is not told is none."""
    component, step = said["step"] or ("", "")
    attempt = attempts.get(component)
    if attempt is not None:
        state, reason = STEPS[step]
        attempt = Attempt(
            component, attempt.deployment, attempt.revision, attempt.attempt, "", state, reason
        )
    versions = {
        name: Installed(version, checksum(version)) for name, version in said["versions"].items()
    }
    known = {name: value for name, value in said.items() if name not in ("step", "versions")}
    return Report(**known, attempt=attempt, versions=versions)


def everything(fleet: Simulation) -> dict[str, list[Any]]:
    with fleet.store.read() as connection:
        found: dict[str, list[Any]] = {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in t.metadata.tables.values()
        }
        # Which devices changed counts; those of one flush are numbered in an order of its own.
        changed = connection.execute(select(t.dirty_devices.c.device_seq)).scalars()
        return found | {"dirty_devices": sorted(changed)}


@settings(
    max_examples=examples(12),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    phases=(Phase.generate,),  # each try is a life: to make one smaller takes minutes
)
@given(reports())
def test_one_flush_leaves_what_each_in_its_own_does(
    fleet: Simulation, tmp_path: Path, said: list[tuple[int, dict[str, Any]]]
) -> None:
    attempts = {
        device.seq: {
            wanted.name: attempt_of(wanted, TargetState.PENDING) for wanted in fleet.wanted(device)
        }
        for device in fleet.devices.values()
    }
    heard = [(seq, spoken(each, attempts[seq])) for seq, each in said]
    found = []
    for parts in ([heard], [[each] for each in heard]):
        folder = tmp_path / str(next(numbers))
        folder.mkdir()
        copy, touched = twin(fleet, folder), set()
        for part in parts:
            with copy.store.write() as connection:
                touched |= commit_reports(connection, copy.now + 5, part)
        found.append((everything(copy), touched))
        copy.store.close()
    (together, touched), (alone, touched_alone) = found
    assert touched == touched_alone
    for table, rows in together.items():
        assert rows == alone[table], table
