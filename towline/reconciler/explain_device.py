"""Gathers what `explain` says of a device: rows, windows and budgets become plain values."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, Row

from towline.manifests.filters import FilterableDevice, owns
from towline.manifests.model import Deployment
from towline.reconciler import ways_in
from towline.reconciler.explain import explain
from towline.reconciler.explain_facts import (
    DeviceFacts,
    HoldFacts,
    PartFacts,
    RunFacts,
    TargetFacts,
    WindowFacts,
)
from towline.reconciler.head import Head
from towline.reconciler.holding import gravest_first
from towline.reconciler.laid_over import with_overrides
from towline.reconciler.offer import Offer
from towline.reconciler.showing import Sight
from towline.reconciler.store import arm_versions, freezes, reading_events, runs
from towline.reconciler.store import reading_explain as rows_of
from towline.reconciler.store.reading_events import EventFilter
from towline.reconciler.within_budget import groups_in_full
from towline.schemas.states import LIVE_RUNS, RunState, TargetState
from towline.schemas.window_words import why_closed
from towline.schemas.windows import Window, install_need_s, next_opening

STORY_LIMIT = 12
"""So many of a device's latest events are told."""
_UNBEGUN = (TargetState.PENDING, TargetState.DOWNLOADING)


def explain_device(
    connection: Connection, organization: str, slug: str, sight: Sight
) -> dict[str, Any] | None:
    """`{"device", "components": […], "lately": […], "text"}`; None when there is no such device."""
    device = rows_of.device_row(connection, organization, slug)
    if device is None:
        return None
    reading = _Reading(connection, device, sight)
    story = explain(reading.facts(), sight.now)
    events = reading_events.events(connection, organization, EventFilter(device=slug), STORY_LIMIT)
    lately = [_line(event) for event in events]
    text = story["text"]
    if lately:
        text = "\n".join([text, "Lately:", *(f"  {line}" for line in lately)])
    return {**story, "lately": lately, "text": text}


def _line(event: Mapping[str, Any]) -> str:
    """One event; repeats say how often."""
    words = [event["lastAt"], event["kind"], event["reason"], event["message"].split("\n")[0]]
    times = f"({event['count']} times)" if event["count"] > 1 else ""
    return " ".join(filter(None, [*words, times]))


class _Reading:
    """One device, looked at from `sight`."""

    def __init__(self, connection: Connection, device: Row[Any], sight: Sight) -> None:
        self.connection, self.device, self.sight = connection, device, sight
        self.filterable = FilterableDevice(device.slug, device.device_type, device.labels)
        self.installed = rows_of.installed(connection, device.seq)
        self.newest = rows_of.newest_targets(connection, device.seq)

    def facts(self) -> DeviceFacts:
        """Everything that is said."""
        device, wanting = self.device, self._wanting()
        names = sorted({*self.installed, *self.newest, *wanting})
        return DeviceFacts(
            name=device.slug,
            last_seen=device.last_seen,
            is_silent=device.last_seen is None or device.last_seen < self.sight.seen_after,
            shut_out=ways_in.shut_out(device),
            rejected=device.rejected or "",
            is_old=device.token_since is not None,
            time_zone=device.time_zone,
            parts=tuple(self._part(name, wanting.get(name)) for name in names),
        )

    def _head(self) -> Head | None:
        head = self.sight.head
        return head if head and head.organization == self.device.organization else None

    def _wanting(self) -> dict[str, str]:
        """By component: the Deployment that wants something of the device.

        The one whose target is the device's newest; else one whose filters own it.
        """
        found: dict[str, str] = {}
        head = self._head()
        owners = sorted(head.deployments.items(), reverse=True) if head else []
        for name, manifest in owners:
            if self._is_owned(manifest):
                found[manifest.component] = name
        for component, target in self.newest.items():
            is_dropped = head is not None and target.deployment not in head.deployments
            if component not in found or not (is_dropped or target.reason == "OwnedByOther"):
                found[component] = target.deployment
        return found

    def _is_owned(self, manifest: Deployment) -> bool:
        head = self._head()
        assert head is not None
        over = with_overrides(self.connection, head, manifest.name).deployments[manifest.name]
        return owns(over.ownership, head.groups, self.filterable)

    def _part(self, component: str, deployment: str | None) -> PartFacts:
        runs_there = self.installed.get(component)
        part = PartFacts(
            component=component,
            version=runs_there.version if runs_there else None,
            pin=runs_there.pin_version if runs_there else None,
        )
        run = None
        if deployment is not None:
            run = runs.newest_run(self.connection, self.device.organization, deployment)
        if run is None:
            return part
        part = replace(part, run=self._run(run), is_owned=self._owned_by_run(run))
        target = rows_of.target_in(self.connection, run.seq, self.device.seq)
        if target is None:
            return part
        if target.arm is not None and part.run is not None:
            of_arms = arm_versions.versions_of(self.connection, [run.seq])
            version = of_arms.get((run.seq, target.arm), part.run.version)
            part = replace(part, run=replace(part.run, version=version))
        return self._with_target(replace(part, target=_target(target)), run, target)

    def _owned_by_run(self, run: Row[Any]) -> bool:
        head = self._head()
        manifest = head.deployments.get(run.deployment) if head else None
        return manifest is None or self._is_owned(manifest)

    def _run(self, run: Row[Any]) -> RunFacts:
        held: list[Row[Any]] = []
        if RunState(run.status) in LIVE_RUNS:
            held = runs.holds_of(self.connection, run.organization, run.deployment, run.seq)
        return RunFacts(
            deployment=run.deployment,
            version=run.target_version,
            commit=run.source_commit,
            author=run.author,
            subject=rows_of.subject_of(self.connection, run),
            status=RunState(run.status),
            reason=run.reason,
            message=run.message,
            holds=tuple(
                HoldFacts(hold.reason, hold.message, hold.until)
                for hold in sorted(held, key=lambda hold: gravest_first(hold.reason))
            ),
            is_return=run.is_return,
        )

    def _with_target(self, part: PartFacts, run: Row[Any], target: Row[Any]) -> PartFacts:
        if TargetState(target.status) not in _UNBEGUN:
            return part
        if target.granted_at is not None:
            return replace(part, window=self._window(run, target))
        other = rows_of.other_install(self.connection, self.device.seq, target.component)
        busy = f"{other.component} {other.target_version} of {other.deployment}" if other else ""
        return replace(part, busy_with=busy, full_group=self._full_group(run))

    def _full_group(self, run: Row[Any]) -> str:
        head = self._head()
        manifest = head.deployments.get(run.deployment) if head else None
        if manifest is None or manifest.budget is None:
            return ""
        budget = manifest.budget
        value = self.device.labels.get(budget.group_by)
        full = groups_in_full(self.connection, run.organization, budget)
        return f"{budget.group_by}={value}" if value in full else ""

    def _window(self, run: Row[Any], target: Row[Any]) -> WindowFacts | None:
        if run.offer is None or run.through_windows:
            return None
        offer = Offer.parse(run.offer, run.target_version)
        frozen = freezes.windows_of(self.connection, run.organization, self.filterable)
        need_s = install_need_s(offer.install_timeout_s, offer.health)
        found = _closed((*offer.windows, *frozen), self.sight.now, self.device.time_zone, need_s)
        if found is None and target.waits == "WaitingForWindow":
            return WindowFacts(target.error_message or "by its own word", self.sight.now)
        return found


def _closed(
    windows: tuple[Window, ...], now: int, zone: str | None, need_s: int
) -> WindowFacts | None:
    try:
        opens_at = next_opening(windows, now, zone, need_s)
        if opens_at == now:
            return None
        why = why_closed(windows, now, zone) or "what is left of it is too short for the install"
    except ValueError as unknown_zone:
        return WindowFacts(str(unknown_zone), None)
    return WindowFacts(why, opens_at)


def _target(row: Row[Any]) -> TargetFacts:
    return TargetFacts(
        state=TargetState(row.status),
        reason=row.reason,
        message=row.error_message or "",
        attempt=row.attempt,
        is_granted=row.granted_at is not None,
        is_fetched=row.fetched_at is not None,
        is_staged=row.staged_at is not None,
        is_verified=row.verified_at is not None,
        waits=row.waits,
        deadline=row.deadline,
        goes_back_to=(row.from_version or "what it ran before") if row.goes_back else None,
    )
