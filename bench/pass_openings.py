"""Passes that choose devices: a new batch and its grants in a budget, others in members' place.

A budget is such that it holds some back: each site may have as many away as there are free slots
for all sites together. What it does is checked at each turn: no site is over it, somebody is held
back, and whoever was is granted once there is room.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, select

from bench import crowd
from bench.pass_fleet import (
    Side,
    analyze,
    complete,
    complete_granted,
    count,
    excuse,
    pass_of,
    stage,
)
from tests.reconciler.simulation import Simulation, manifest
from towline.reconciler.store import tables as t

TENTH = "  filters: {labels: {m: m0, h: [h0, h1]}}\n"
"""Of the fleet, in all sites: of 100,000 devices 1,000 are a whole percent, of a million they are
none."""


def begin_lots(side: Side) -> None:
    """A Deployment whose batches have filters of their own, the first of which is open."""
    lots = "".join(
        f"      - {{name: {lot}, size: 100%, filters: {{labels: {{lot: {lot}}}}}}}\n"
        for lot in crowd.LOTS
    )
    more = f"  strategy:\n    type: batches\n    batches:\n{lots}"
    _begin(side, manifest("1.0.0", more, "lots"))


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
    _begin(side, _wide("wide", ""))


def next_of_fleet(side: Side) -> dict[str, float]:
    """The pass that puts the next 1,000 of the fleet in the place of such as fell silent."""
    return {"next": _put(side, "wide")}


def begin_careful(side: Side) -> None:
    """The same with a budget."""
    _begin(side, _wide("careful", _budget()))


def next_in_budget(side: Side) -> dict[str, float]:
    """The same with a budget, and the pass that grants out of the whole batch what it lets."""
    fleet = side.fleet
    putting = _put(side, "careful")
    stage(fleet, "careful")
    granting = side.timed(lambda: pass_of(fleet, "careful"))
    _check_budget(fleet, "careful")
    complete_granted(fleet, "careful")
    return {"more": putting + granting}


def begin_tenth(side: Side) -> None:
    """A Deployment of batches of 1,000, without filters of their own, the first of which is open.

    It is over a tenth of the fleet: a batch has one percent or more.
    """
    tenth = (side.devices - crowd.LOT * len(crowd.LOTS)) // 10
    share = max(1, round(100 * crowd.LOT / tenth))
    batches = "".join(
        f"      - {{name: step-{n}, size: {share * n}%}}\n" for n in range(1, len(crowd.LOTS) + 1)
    )
    strategy = f"  strategy:\n    type: batches\n    batches:\n{batches}"
    more = f"{TENTH}{strategy}  maxConcurrent: {crowd.LOT}\n{_budget()}"
    _begin(side, manifest("1.0.0", more, "tenth"))


def next_batch(side: Side) -> dict[str, float]:
    """The pass that finds a batch passed and opens the next one, and the pass that grants in it."""
    fleet = side.fleet
    before = count(fleet, "tenth")
    complete(fleet, "tenth")
    opening = side.timed(lambda: pass_of(fleet, "tenth"))
    opened = count(fleet, "tenth") - before
    assert 0.6 < opened / crowd.LOT < 1.5, opened  # whole percents
    stage(fleet, "tenth")
    granting = side.timed(lambda: pass_of(fleet, "tenth"))
    _check_budget(fleet, "tenth")
    _grant_the_others(fleet, "tenth")
    return {"batch": opening + granting, "batch opened": opening, "batch size": opened}


def _begin(side: Side, document: str) -> None:
    """Put the Deployment in force; the first batch is open for so long that rows were counted."""
    side.fleet.commit(document)
    analyze(side.fleet)


def _budget() -> str:
    return f"  disruptionBudget: {{groupBy: site, maxUnavailable: {_per_site()}}}\n"


def _per_site() -> int:
    return max(1, crowd.LOT // crowd.SITES)


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


def _check_budget(fleet: Simulation, name: str) -> None:
    """Many were granted, no site has more of them than it may, and some were passed over."""
    waiting = _waiting(fleet, name)
    granted = [each for each in waiting if each.granted_at is not None]
    assert len(granted) > crowd.LOT // 2, len(granted)
    assert max(Counter(each.site for each in granted).values()) <= _per_site()
    last = max(each.position for each in granted)
    assert any(each.granted_at is None and each.position < last for each in waiting)


def _grant_the_others(fleet: Simulation, name: str) -> None:
    """Whoever was held back is granted after others completed, until nobody waits."""
    while waiting := _waiting(fleet, name):
        complete_granted(fleet, name)
        left = len(_waiting(fleet, name))
        assert left < len(waiting), f"{left} devices are held back for ever"
        if left:
            stage(fleet, name)
            pass_of(fleet, name)


def _waiting(fleet: Simulation, name: str) -> Sequence[Row[Any]]:
    """Who waits in the run, granted or not, and where."""
    site = t.label_sets.c.labels["site"].as_string().label("site")
    statement = (
        select(t.targets.c.device_seq, t.targets.c.granted_at, t.targets.c.position, site)
        .join(t.edge_devices, t.edge_devices.c.seq == t.targets.c.device_seq)
        .join(t.label_sets, t.label_sets.c.id == t.edge_devices.c.label_set_id)
        .where(t.targets.c.run_seq == fleet.run(name).seq, t.targets.c.status == "pending")
    )
    with fleet.store.read() as connection:
        return connection.execute(statement).all()
