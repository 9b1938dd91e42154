"""Rebuilding runs, batches, holds and targets from the record of their changes alone.

A pure fold: it knows no store and no clock. It stops before the first change after a time, so that
what it rebuilds is a state that the store really had.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from towline.reconciler.store import changes
from towline.reconciler.store.changes import TOLD_OF_TARGETS, Change

Values = dict[str, Any]
Target = tuple[Any, ...]
"""The told columns of a target, in the order of `TOLD_OF_TARGETS`."""
_PLACES = {name: place for place, name in enumerate(TOLD_OF_TARGETS)}


@dataclass(slots=True)
class Rebuilt:
    """The told columns of every row, by its key in the store."""

    runs: dict[int, Values] = field(default_factory=dict)
    batches: dict[tuple[int, int], Values] = field(default_factory=dict)
    holds: dict[int, Values] = field(default_factory=dict)
    targets: dict[tuple[int, int], Target] = field(default_factory=dict)
    """By run and device."""
    changes: int = 0
    """How many were read."""
    since: int | None = None
    """When the first of them was; nothing is known of what was before."""
    until: int | None = None
    """When the last of them was."""

    def tables(self) -> dict[str, Mapping[Any, Any]]:
        """Each table by its name."""
        return {
            "runs": self.runs,
            "batches": self.batches,
            "holds": self.holds,
            "targets": self.targets,
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """A row that was rebuilt otherwise than it is stored; None: it is not there."""

    table: str
    key: Any
    rebuilt: Any
    stored: Any

    def __str__(self) -> str:
        return f"{self.table} {self.key}: rebuilt {self.rebuilt}, stored {self.stored}"


def replay(recorded: Iterable[Change], until: int | None = None) -> Rebuilt:
    """What the changes come to, in their order; `until` in seconds since the epoch."""
    rebuilt = Rebuilt()
    same: dict[Target, Target] = {}
    for change in recorded:
        if until is not None and change.at > until:
            break
        rebuilt.changes += 1
        rebuilt.until = change.at
        if rebuilt.since is None:
            rebuilt.since = change.at
        _apply(rebuilt, change, same)
    return rebuilt


def _apply(rebuilt: Rebuilt, change: Change, same: dict[Target, Target]) -> None:
    data = change.data
    match change.kind:
        case changes.RUN:
            _set(rebuilt.runs, data["run"], data)
        case changes.BATCH:
            _set(rebuilt.batches, (data["run"], data["batch"]), data)
        case changes.HOLD:
            for row in data["added"]:
                rebuilt.holds[row["id"]] = dict(row)
            for hold in data["ended"]:
                rebuilt.holds.pop(hold, None)
        case changes.TARGETS:
            for move in data["moves"]:
                _move(rebuilt.targets, data["run"], move, same)


def _set(rows: dict[Any, Values], key: Any, data: Mapping[str, Any]) -> None:
    """What began before the record cannot be rebuilt from its later changes."""
    if data["isNew"]:
        rows[key] = dict(data["values"])
    elif key in rows:
        rows[key] |= data["values"]


def _move(
    targets: dict[tuple[int, int], Target],
    run: int,
    move: Mapping[str, Any],
    same: dict[Target, Target],
) -> None:
    """Devices that stand alike share one tuple: a million of them cost no million of rows."""
    now = move["now"]
    for device in move["devices"]:
        key = (run, device)
        if now is None:
            targets.pop(key, None)
        elif move["was"] is None:
            fresh = tuple(now[name] for name in TOLD_OF_TARGETS)
            targets[key] = same.setdefault(fresh, fresh)
        elif key in targets:
            changed = list(targets[key])
            for name, value in now.items():
                changed[_PLACES[name]] = value
            after = tuple(changed)
            targets[key] = same.setdefault(after, after)


def compare(rebuilt: Rebuilt, stored: Rebuilt) -> list[Difference]:
    """Every row that differs; what belongs to runs from before the record is left out."""
    older, found = older_runs(rebuilt, stored), []
    there = stored.tables()
    for table, told in rebuilt.tables().items():
        for key in sorted({*told, *there[table]}):
            one, other = told.get(key), there[table].get(key)
            if one != other and not _is_older(rebuilt, older, table, key, other):
                found.append(Difference(table, key, one, other))
    return found


def older_runs(rebuilt: Rebuilt, stored: Rebuilt) -> set[int]:
    """The stored runs that began before the record: their beginning is not known."""
    return {
        seq
        for seq, row in stored.runs.items()
        if seq not in rebuilt.runs and _is_before(rebuilt, row["created_at"])
    }


def _is_before(rebuilt: Rebuilt, at: int) -> bool:
    return rebuilt.since is None or at < rebuilt.since


def _is_older(rebuilt: Rebuilt, older: set[int], table: str, key: Any, stored: Any) -> bool:
    if table == "runs":
        return key in older
    if table != "holds":
        return key[0] in older
    if stored is None:
        return False
    return stored["run_seq"] in older or _is_before(rebuilt, stored["since"])
