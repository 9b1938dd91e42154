"""Passes that choose devices: the next 1,000 of a fleet, with a budget, and by filters."""

from sqlalchemy import func, select

from bench import crowd
from bench.pass_fleet import Side, complete, complete_granted, count, excuse, pass_of, stage
from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.store import tables as t

_BUDGET = "  disruptionBudget: {groupBy: site, maxUnavailable: 10}\n"


def begin_lots(side: Side) -> None:
    """A Deployment whose batches have filters of their own, the first of which is open."""
    lots = "".join(
        f"      - {{name: {lot}, size: 100%, filters: {{labels: {{lot: {lot}}}}}}}\n"
        for lot in crowd.LOTS
    )
    more = f"  strategy:\n    type: batches\n    batches:\n{lots}"
    side.fleet.commit(manifest("1.0.0", more, "lots"))


def next_lot(side: Side) -> dict[str, float]:
    """The pass that finds a batch of 1,000 passed, and opens the next one by its own filters."""
    fleet = side.fleet
    before = count(fleet, "lots")
    complete(fleet, "lots")
    took = side.timed(lambda: pass_of(fleet, "lots"))
    opened = count(fleet, "lots") - before
    assert opened == crowd.LOT, opened
    return {"own filters": took}


def begin_wide(side: Side) -> None:
    """A Deployment over the whole fleet with a large batch open."""
    side.fleet.commit(_wide("wide", ""))


def next_of_fleet(side: Side) -> dict[str, float]:
    """The pass that puts the next 1,000 of the fleet in the place of such as fell silent."""
    return {"next": _put(side, "wide")}


def begin_careful(side: Side) -> None:
    """The same with a budget."""
    side.fleet.commit(_wide("careful", _BUDGET))


def next_in_budget(side: Side) -> dict[str, float]:
    """The same with a budget, and the pass that grants 1,000 within it."""
    fleet = side.fleet
    putting = _put(side, "careful")
    stage(fleet, "careful")
    granting = side.timed(lambda: pass_of(fleet, "careful"))
    granted = _granted(fleet, "careful")
    assert granted == crowd.LOT, granted
    complete_granted(fleet, "careful")
    return {"in budget": putting + granting}


def _wide(name: str, more: str) -> str:
    share = "  strategy:\n    type: batches\n    batches:\n      - {name: first, size: 5%}\n"
    return manifest("1.0.0", f"{share}  maxConcurrent: {crowd.LOT}\n{more}", name)


def _put(side: Side, name: str) -> float:
    before = count(side.fleet, name)
    excuse(side.fleet, name, crowd.LOT)
    took = side.timed(lambda: pass_of(side.fleet, name))
    put = count(side.fleet, name) - before
    assert put == crowd.LOT, put
    return took


def _granted(fleet: Simulation, name: str) -> int:
    with fleet.store.read() as connection:
        of_run = t.targets.c.run_seq == fleet.run(name).seq
        away = t.targets.c.granted_at.is_not(None) & (t.targets.c.status == "pending")
        return connection.execute(select(func.count()).where(of_run, away)).scalar_one()
