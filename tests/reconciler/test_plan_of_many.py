"""A plan of many Deployments of one component: what they have in common is asked once."""

from pathlib import Path
from typing import Any

import pytest

from tests.reconciler.simulation import ORGANIZATION, POLL_S, Simulation, manifest
from tests.reconciler.test_plan import files_of
from towline.reconciler.head import CommitSeen
from towline.reconciler.head_reading import read_head
from towline.reconciler.plan import Plan
from towline.reconciler.planning import PlanOptions, make_plan
from towline.reconciler.store import ownership, plan_reading
from towline.reconciler.store.private_copy import copy_of_store

MANY = 6


def plan_of_many(folder: Path) -> Plan:
    """The plan of Deployments that all own every device."""
    fleet = Simulation(folder, devices=2)
    text = manifest("1.0.0", "  strategy: immediate\n")
    names = [text.replace("{name: app}", f"{{name: app-{n}}}") for n in range(MANY)]
    read = read_head(files_of(*names), CommitSeen("f" * 40), ORGANIZATION, None)
    options = PlanOptions(now=fleet.now, poll_interval_s=POLL_S, source="store")
    return make_plan(copy_of_store(fleet.store), None, read, options)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """The arguments of each call of the function."""
    real, calls = getattr(module, name), []

    def count(*given: Any) -> Any:
        calls.append(given)
        return real(*given)

    monkeypatch.setattr(module, name, count)
    return calls


def test_equal_filters_are_compared_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = counted(monkeypatch, plan_reading, "common")
    plan = plan_of_many(tmp_path)
    assert [len(each.errors) for each in plan.deployments] == [MANY - 1] * MANY
    assert len(compared) == 1


def test_a_filter_that_many_claim_by_is_asked_once_in_a_statement(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    claimed = counted(monkeypatch, ownership, "_holder")
    asked = counted(monkeypatch, ownership, "owned_by")
    plan_of_many(tmp_path)
    # A statement asks for the Deployment's own filters, and once for the five that claim, too;
    # some ask for its own alone.
    assert 0 < len(asked) <= 3 * len(claimed)
