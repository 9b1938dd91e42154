"""A head that is tried over a private store: what is laid there first, and what is played of it.

Shared by the plan and the simulation, so that both play the same.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row, select

from towline.manifests.model import Deployment
from towline.reconciler import device_entries
from towline.reconciler.head import Head
from towline.reconciler.store import freezes, git_devices
from towline.reconciler.store import tables as t
from towline.schemas.states import FINISHED_RUNS, RunState


class Trial:
    """`head` over a store in which `base` is in force; None: nothing was ever in force."""

    def __init__(self, base: Head | None, head: Head) -> None:
        self.base, self.head = base, head
        self.old: Mapping[str, Deployment] = base.deployments if base else {}
        self.is_fleet_changed = base is None or (base.groups, base.devices) != (
            head.groups,
            head.devices,
        )

    @property
    def played_head(self) -> Head:
        """The head without figures, which are measured on a real fleet: a rehearsal goes on."""
        asked = {name: replace(each, analysis=()) for name, each in self.head.deployments.items()}
        return replace(self.head, deployments=asked)

    def names(self, connection: Connection) -> list[str]:
        """Every Deployment of either head, and those with a live run, in order."""
        live = connection.execute(
            select(t.runs.c.deployment)
            .where(
                t.runs.c.organization == self.head.organization,
                t.runs.c.status.not_in([state.value for state in FINISHED_RUNS]),
            )
            .distinct()
        ).scalars()
        return sorted({*self.old, *self.head.deployments, *live})

    def put_in_force(self, connection: Connection) -> None:
        """The commit's Freezes, and what its Device manifests say where it changes that."""
        freezes.replace(connection, self.head.organization, self.head.freezes.values())
        before = self.base.devices if self.base else {}
        after = self.head.devices
        touched = {name for name in {*before, *after} if before.get(name) != after.get(name)}
        if touched:
            said = git_devices.Said(
                self.head.organization,
                device_entries.git_devices(after),
                is_kept=lambda name: name not in touched,
            )
            git_devices.put_in_force(connection, git_devices.compare(connection, said))

    def is_played(self, name: str, run: Row[Any] | None) -> bool:
        """What neither the commit nor a live run moves is left alone; `run` is its newest."""
        is_live = run is not None and RunState(run.status) not in FINISHED_RUNS
        return is_live or self.is_fleet_changed or not self._is_same(name)

    def _is_same(self, name: str) -> bool:
        old, new = self.old.get(name), self.head.deployments.get(name)
        return old is not None and new is not None and replace(old, file=new.file) == new
