"""The disruption budget while runs go on: groups over all Deployments, and who waits for whom."""

from collections import Counter
from pathlib import Path

import pytest

from tests.reconciler.looking import AT_ONCE, granted, installed, outcome, say, state
from tests.reconciler.simulation import Simulation, manifest
from towline.schemas.states import TargetState


@pytest.fixture
def fleet(tmp_path: Path) -> Simulation:
    """Two stores with four tills each."""
    fleet = Simulation(tmp_path, devices=0)
    for n in range(8):
        fleet.enrol(f"till-{n}", store=f"s{n // 4}")
    return fleet


def spec(amount: object = 1, more: str = "") -> str:
    budget = f"  disruptionBudget: {{groupBy: store, maxUnavailable: {amount}}}\n"
    return AT_ONCE + "  order: name\n" + budget + more


def stores(fleet: Simulation, *names: str) -> Counter[str]:
    return Counter("s" + str(int(name[-1]) // 4) for name in granted(fleet, *names))


def test_each_group_spares_as_many_as_the_budget_says_until_all_have_it(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", spec(2)))
    assert stores(fleet) == {"s0": 2, "s1": 2}
    assert state(fleet)[1] == "BudgetFull"
    for _ in range(10):
        fleet.step()
        assert max(stores(fleet).values(), default=0) <= 2
    assert (fleet.run().status, len(installed(fleet))) == ("completed", 8)


@pytest.mark.parametrize(("share", "n"), [("70%", 2), ("1%", 1)])
def test_a_share_rounds_down_and_is_at_least_one(fleet: Simulation, share: str, n: int) -> None:
    fleet.commit(manifest("1.0.0", spec(share)))
    assert stores(fleet) == {"s0": n, "s1": n}


def test_a_device_without_the_label_is_a_group_of_its_own(fleet: Simulation) -> None:
    for n in (8, 9):
        fleet.enrol(f"kiosk-{n}")
    fleet.commit(manifest("1.0.0", spec()))
    assert granted(fleet) == ["kiosk-8", "kiosk-9", "till-0", "till-4"]


def test_a_device_that_another_deployment_keeps_busy_counts(fleet: Simulation) -> None:
    other = manifest("1.0.0", AT_ONCE + "  filters: {devices: [till-1]}\n", name="db")
    fleet.commit(other)
    assert granted(fleet, "db") == ["till-1"]
    fleet.commit(other, manifest("1.0.0", spec()))
    assert granted(fleet, "app") == ["till-4"]
    fleet.step(2)
    assert stores(fleet, "app")["s0"] == 1


def test_a_deployment_without_a_budget_asks_for_none(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", spec()), manifest("1.0.0", AT_ONCE, name="db"))
    assert len(granted(fleet, "app")) == 2
    assert len(granted(fleet, "db")) == 6


def test_a_full_group_holds_back_only_its_own(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", spec(1, "  maxConcurrent: 2\n")))
    say(fleet, "till-0", TargetState.INSTALLING)
    fleet.devices["till-0"].is_online = False
    fleet.step(12)
    assert outcome(fleet, "till-0")[0] == "installing"
    assert sorted(installed(fleet)) == ["till-4", "till-5", "till-6", "till-7"]
    assert state(fleet)[1] == "BudgetFull"


def test_until_it_is_verified_a_device_counts_as_away(fleet: Simulation) -> None:
    fleet.commit(manifest("1.0.0", spec()))
    device = fleet.devices["till-0"]
    (found,) = fleet.wanted(device)
    fleet.install(device, found)
    fleet.settle()
    assert granted(fleet) == ["till-4"]
    fleet.report(device)
    fleet.settle()
    assert granted(fleet) == ["till-1", "till-4"]
