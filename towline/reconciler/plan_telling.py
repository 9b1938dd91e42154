"""From a rehearsed run to what the plan tells of its Deployment."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row

from towline.manifests.model import Deployment
from towline.reconciler.head import Head
from towline.reconciler.layout import plan_number
from towline.reconciler.openings import openings_of
from towline.reconciler.plan import (
    NAMES_LIMIT,
    Change,
    DeploymentPlan,
    Estimate,
    KeyChange,
    Names,
    NoWayBack,
    Openings,
    PlannedBatch,
    PlannedSkip,
    Said,
    VersionMove,
)
from towline.reconciler.plan_changes import key_changes, strategy_text
from towline.reconciler.plan_warnings import QUIET, errors_of, warnings_of
from towline.reconciler.rehearsal import Story
from towline.reconciler.scope import plans_of
from towline.reconciler.store import plan_groups, plan_reading, runs
from towline.reconciler.store.plan_groups import RehearsedGroup
from towline.schemas import times
from towline.schemas.states import TargetState


@dataclass(frozen=True, slots=True)
class Before:
    """What the store knew of a Deployment before the rehearsal."""

    run: Row[Any] | None
    batches: int
    """How many were open."""
    past_installs: tuple[int, ...]
    """Seconds from grant to verification of installs of its component."""


class Teller:
    """Tells of Deployments after a rehearsal that began at `since`."""

    def __init__(
        self,
        connection: Connection,
        base: Head | None,
        head: Head,
        since: int,
        seen_after: int,
        wants_names: bool,
    ) -> None:
        self.connection, self.base, self.head = connection, base, head
        self.since, self.seen_after, self.wants_names = since, seen_after, wants_names

    def tell(self, name: str, before: Before, story: Story | None) -> DeploymentPlan:
        """What would become of one Deployment; no story: it was not played."""
        old = self.base.deployments.get(name) if self.base else None
        new = self.head.deployments.get(name)
        run = runs.newest_run(self.connection, self.head.organization, name)
        plan = self._compared(name, old, new, before.run, run)
        if story is None or new is None or run is None:
            return plan
        return self._played(plan, new, before, run, story)

    def _compared(
        self,
        name: str,
        old: Deployment | None,
        new: Deployment | None,
        before: Row[Any] | None,
        run: Row[Any] | None,
    ) -> DeploymentPlan:
        """What the manifests alone tell."""
        either = new or old
        keys = key_changes(old, new) if old and new else ()
        return DeploymentPlan(
            name=name,
            change=_change(old, new, keys, before, run),
            component=either.component if either else run.component if run else "",
            file=either.file if either else "",
            version_before=old.target_version if old else None,
            version_after=new.target_version if new else None,
            revision_before=old.revision if old else None,
            revision_after=new.revision if new else None,
            strategy=strategy_text(new) if new else None,
            keys=keys,
        )

    def _played(
        self,
        plan: DeploymentPlan,
        manifest: Deployment,
        before: Before,
        run: Row[Any],
        story: Story,
    ) -> DeploymentPlan:
        """Add what the rehearsal showed."""
        is_same_run = before.run is not None and before.run.seq == run.seq
        sizes = _sizes(run.offer)
        groups = plan_groups.groups(
            self.connection, run, since=self.since, seen_after=self.seen_after, wanted=sizes
        )
        moved = [group for group in groups if group.status is TargetState.COMPLETED]
        devices = sum(group.n for group in moved)
        if plan.change is Change.NONE:
            if not devices or before.run is None or before.run.completed_at is None:
                return plan
            joiners = KeyChange("filters")
            plan = replace(plan, change=Change.CHANGE, keys=(joiners,))
        told = replace(
            plan,
            devices=devices,
            kept=sum(group.n for group in moved if group.is_kept),
            bytes=sum(_size(group, sizes) * group.n for group in moved if not group.is_kept),
            batches=self._batches(manifest, run, moved, before.batches if is_same_run else 0),
            skipped=self._skips(run, groups, before.run if is_same_run else None),
            versions=_versions(moved, run),
            no_way_back=self._no_way_back(moved, manifest),
            openings=self._openings(manifest, run.seq),
            waits_for=_waits(story, manifest),
            ends_as=run.status,
        )
        told = replace(told, estimate=_estimate(told, manifest, before.past_installs))
        policies = (self.base or self.head).policies
        owned = plan_reading.owned(
            self.connection, self.head.organization, manifest.ownership, self.head.groups
        )
        return replace(
            told,
            errors=errors_of(told, manifest, policies),
            warnings=warnings_of(
                told,
                manifest,
                owned,
                story.last,
                plan_reading.unverifying(self.connection, run.seq),
            ),
        )

    def _batches(
        self,
        manifest: Deployment,
        run: Row[Any],
        moved: Sequence[RehearsedGroup],
        opened: int,
    ) -> tuple[PlannedBatch, ...]:
        rows = runs.batches_of(self.connection, run.seq)
        plans = plans_of(manifest, run, rows)
        found = []
        for row in rows:
            mine = [group for group in moved if group.batch == row.number]
            devices = sum(group.n for group in mine)
            found.append(
                PlannedBatch(
                    number=row.number + 1,
                    name=row.name,
                    devices=devices,
                    offline=sum(group.n for group in mine if group.is_offline),
                    is_last=row.is_last,
                    was_open=row.number < opened,
                    success_threshold=row.success_threshold,
                    soak=row.soak_s,
                    needs_approval=plan_number(plans, row.number).needs_approval,
                    names=self._names(run, plan_reading.in_batch(row.number), devices),
                )
            )
        return tuple(found)

    def _skips(
        self, run: Row[Any], groups: Sequence[RehearsedGroup], same: Row[Any] | None
    ) -> tuple[PlannedSkip, ...]:
        counted: Counter[str] = Counter()
        for group in groups:
            if group.status is TargetState.SKIPPED:
                counted[group.reason] += group.n
        return tuple(
            PlannedSkip(reason, n, self._names(run, plan_reading.skipped_as(reason), n))
            for reason, n in sorted(counted.items())
        )

    def _names(self, run: Row[Any], where: ColumnElement[bool], total: int) -> Names | None:
        if not self.wants_names:
            return None
        shown = plan_reading.names(
            self.connection, run.seq, where, since=self.since, limit=NAMES_LIMIT
        )
        return Names(shown, total - len(shown))

    def _no_way_back(
        self, moved: Sequence[RehearsedGroup], manifest: Deployment
    ) -> tuple[NoWayBack, ...]:
        """First installs, and devices that run what no release is known of."""
        counted: Counter[str | None] = Counter()
        for group in moved:
            counted[group.from_version] += group.n
        known = plan_reading.releases_known(
            self.connection, self.head.organization, manifest.component
        )
        paths = {*self.head.statements, *(self.base.statements if self.base else ())}
        known |= {
            path.split("/")[2]
            for path in paths
            if path.startswith(f"releases/{manifest.component}/")
        }
        return tuple(
            NoWayBack("NoRelease" if version else "FirstInstall", version, n)
            for version, n in sorted(counted.items(), key=lambda item: item[0] or "")
            if version not in known
        )

    def _openings(self, manifest: Deployment, run_seq: int) -> Openings | None:
        found = openings_of(self.connection, self.head, manifest, run_seq, self.since)
        if not found:
            return None if found is None else Openings(None, None)
        return Openings(times.to_rfc3339(found[0]), times.to_rfc3339(found[-1]))


def _change(
    old: Deployment | None,
    new: Deployment | None,
    keys: Sequence[KeyChange],
    before: Row[Any] | None,
    run: Row[Any] | None,
) -> Change:
    if new is None:
        return Change.REMOVE
    is_new_run = run is not None and (before is None or before.seq != run.seq)
    if run is not None and is_new_run and run.is_return:
        return Change.RETURN
    if old is None:
        return Change.ADD
    return Change.CHANGE if keys else Change.NONE


def _waits(story: Story, manifest: Deployment) -> tuple[Said, ...]:
    """What it would wait for beside the devices."""
    waits = [Said(*wait) for wait in story.waits if wait[0] not in QUIET]
    if manifest.analysis:
        names = ", ".join(each.name for each in manifest.analysis)
        waits.append(Said("Analyzing", f"{names}, after each batch but the last"))
    return tuple(waits)


def _sizes(offer: Mapping[str, Any] | None) -> dict[str, int]:
    """Bytes of each package of an offer, by checksum; a former form holds one package."""
    releases = (offer or {}).get("releases", [offer] if offer else [])
    return {each["sha256"]: each["size"] for each in releases}


def _size(group: RehearsedGroup, sizes: Mapping[str, int]) -> int:
    """A target without a checksum gets the only package."""
    return sizes.get(group.sha256 or "", next(iter(sizes.values()), 0))


def _versions(moved: Sequence[RehearsedGroup], run: Row[Any]) -> tuple[VersionMove, ...]:
    """From and to; the arms of an experiment may deliver different versions."""
    releases = (run.offer or {}).get("releases", [])
    delivered = {each["sha256"]: each["version"] for each in releases}
    counted: Counter[tuple[str | None, str]] = Counter()
    for group in moved:
        counted[group.from_version, delivered.get(group.sha256, run.target_version)] += group.n
    by_size = sorted(counted.items(), key=lambda item: (-item[1], item[0][0] or "", item[0][1]))
    return tuple(VersionMove(before, after, n) for (before, after), n in by_size)


def _estimate(
    plan: DeploymentPlan, manifest: Deployment, lengths: Sequence[int]
) -> Estimate | None:
    """As many turns of maxConcurrent devices as each batch needs, and its soak."""
    middle = plan_reading.median(lengths)
    if middle is None or not plan.devices:
        return None
    turns = sum(-(-batch.devices // manifest.max_concurrent) for batch in plan.batches)
    soaks = sum(batch.soak for batch in plan.batches if not batch.is_last)
    return Estimate(turns * middle + soaks, middle, len(lengths))
