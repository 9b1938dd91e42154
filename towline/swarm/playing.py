"""Performs the agent's actions by letting time pass, as the failure model says.

The counterpart of the agent's `apply`: the same actions, the same reports in the same order. No
package is fetched and no script runs.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from towline.agent.actions import (
    Abandon,
    Action,
    Begin,
    Confirm,
    GiveUp,
    Hold,
    Perform,
    ReportVersions,
    Tell,
)
from towline.agent.attempt import (
    AttemptRecord,
    Key,
    KnownBad,
    Outcome,
    Step,
    success_of,
)
from towline.agent.decide import waiting
from towline.agent.layout import Release, release_name
from towline.reconciler.failure_model import Chance, FailureModel
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.states import TargetState
from towline.swarm.device import Device

UNHEALTHY = "HealthCheckFailed"


class Playing:
    """Lets one device act; `send` sends the reports that wait."""

    def __init__(
        self,
        device: Device,
        model: FailureModel,
        chance: Chance,
        send: Callable[[], Awaitable[None]],
    ) -> None:
        """`chance` draws the lengths of this device, and whether a release is bad on it."""
        self._device = device
        self._model = model
        self._chance = chance
        self._send = send

    async def apply(self, action: Action) -> None:
        """Do it, and report it."""
        match action:
            case Begin():
                self._begin(action)
            case Confirm():
                wanted = action.wanted
                is_rollback = wanted.action is ComponentAction.ROLLBACK
                self._conclude(_outcome(wanted, *success_of(is_rollback=is_rollback)))
            case Perform():
                await self._perform()
            case Tell():
                self._tell(action)
            case ReportVersions():
                self._device.journal = replace(self._device.journal, versions_owed_after=None)
                self._device.tell()
            case Abandon() | GiveUp():
                self._device.journal = replace(self._device.journal, attempt=None)
            case Hold():
                return
        await self._send()

    def _begin(self, action: Begin) -> None:
        wanted, device = action.wanted, self._device
        record = AttemptRecord(
            key=_key(wanted),
            version=wanted.version,
            sha256=wanted.sha256,
            release=release_name(wanted.version, wanted.sha256),
            rollback_index=device.rollback_indexes.get(wanted.name, 0),
            step=action.step,
            is_preparation=wanted.action is ComponentAction.PREPARE,
            is_rollback=wanted.action is ComponentAction.ROLLBACK,
            rolls_back=wanted.rolls_back,
        )
        device.journal = replace(device.journal, attempt=record)

    async def _perform(self) -> None:
        record = self._device.journal.attempt
        assert record is not None
        if record.step is Step.DOWNLOAD:
            await self._download(record)
        else:
            await self._install(record)

    async def _download(self, record: AttemptRecord) -> None:
        word, reason = TargetState.DOWNLOADING, ""
        if record.is_preparation:
            word, reason = TargetState.PENDING, "Preparing"
        await self._announce(record, word, reason)
        await self._pass(self._model.lengths.download_s)
        self._device.stage(record.key.component, _release(record))
        self._device.journal = replace(self._device.journal, attempt=None)

    async def _install(self, record: AttemptRecord) -> None:
        await self._announce(record, TargetState.INSTALLING)
        await self._pass(self._model.lengths.install_s)
        await self._announce(record, TargetState.VERIFYING)
        await self._pass(self._model.lengths.verify_s)
        rate = 0.0 if record.is_rollback else self._model.bad_rate
        if self._chance.is_bad(self._device.number, record.sha256, rate):
            await self._fail(record)
            return
        self._device.run(record.key.component, _release(record))
        self._end(record, *success_of(is_rollback=record.is_rollback))

    async def _fail(self, record: AttemptRecord) -> None:
        """The release is not healthy here: back to the old one, where that is wanted and is one."""
        device, key = self._device, record.key
        bad = KnownBad(record.sha256, key.deployment, key.attempt)
        others = {each for each in device.known_bad if each.sha256 != record.sha256}
        device.known_bad = frozenset({*others, bad})
        if not record.rolls_back:
            device.run(key.component, _release(record))
            self._end(record, TargetState.FAILED, UNHEALTHY, "left as it is")
        elif device.component(key.component).current is None:
            self._end(record, TargetState.FAILED, "NoPrevious", UNHEALTHY)
        else:
            await self._pass(self._model.lengths.verify_s)
            self._end(record, TargetState.ROLLED_BACK, UNHEALTHY, "as the failure model has it")

    async def _announce(self, record: AttemptRecord, state: TargetState, reason: str = "") -> None:
        device = self._device
        device.tell(Outcome(record.key, record.version, record.sha256, state, reason))
        waits = {n: each for n, each in device.journal.waits.items() if n != record.key.component}
        device.journal = replace(device.journal, waits=waits)
        await self._send()

    async def _pass(self, median_s: int) -> None:
        await asyncio.sleep(self._chance.length(median_s))

    def _tell(self, action: Tell) -> None:
        device, wanted = self._device, action.wanted
        device.tell(_outcome(wanted, TargetState.PENDING, action.reason, action.message))
        waits = device.journal.waits | {wanted.name: waiting(action)}
        device.journal = replace(device.journal, waits=waits)

    def _end(
        self, record: AttemptRecord, state: TargetState, reason: str, message: str = ""
    ) -> None:
        self._conclude(Outcome(record.key, record.version, record.sha256, state, reason, message))

    def _conclude(self, outcome: Outcome) -> None:
        device = self._device
        device.tell(outcome)
        journal = device.journal
        owed = device.trust.sequence if outcome.is_success else journal.versions_owed_after
        device.journal = replace(
            journal,
            attempt=None,
            outcomes=journal.outcomes | {outcome.key.component: outcome},
            versions_owed_after=owed,
        )


def _key(wanted: ComponentWanted) -> Key:
    return Key(wanted.name, wanted.deployment, wanted.revision, wanted.attempt, wanted.commit)


def _outcome(
    wanted: ComponentWanted, state: TargetState, reason: str, message: str = ""
) -> Outcome:
    return Outcome(_key(wanted), wanted.version, wanted.sha256, state, reason, message)


def _release(record: AttemptRecord) -> Release:
    return Release(record.release, record.version, record.sha256, record.rollback_index)
