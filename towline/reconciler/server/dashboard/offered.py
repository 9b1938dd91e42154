"""Which acts a page offers, and what each will do, in words and counts. Pure.

The verbs that a state allows come from the table of states; of those only what can do something
now is offered. `acts` decides in the end, and refuses with its own words.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from towline.reconciler.acts import PAUSES
from towline.reconciler.consequences import COUNTED, Consequences
from towline.reconciler.lengths import counted
from towline.reconciler.reopening import GATES
from towline.reconciler.waiting_acts import ALLOWED
from towline.schemas.states import LIVE_RUNS, VERBS, RunState, TargetState, Verb

_RESUMABLE = {*PAUSES, *GATES, "DeadlineExceeded"}
APPROVABLE = {
    "WaitingForApproval",
    "AnalysisInconclusive",
    "PlanStale",
    "SelfHealHeld",
    "RestoredFromBackup",
}
_ORDER = (
    Verb.START,
    Verb.APPROVE,
    Verb.RESUME,
    Verb.RETRY,
    Verb.PAUSE,
    Verb.ROLLBACK,
    Verb.CANCEL,
)
QUICK = (Verb.START, Verb.PAUSE, Verb.RESUME)
_RETRIED = (TargetState.FAILED, TargetState.ROLLED_BACK)


def offered(shown: Mapping[str, Any]) -> list[Verb]:
    """The verbs that do something to a run that is shown so now."""
    status = RunState(shown["status"])
    reasons = {hold["reason"] for hold in shown["holds"]}
    can = {
        Verb.START: shown["reason"] == "WaitingForStart",
        Verb.RESUME: bool(reasons & _RESUMABLE),
        Verb.APPROVE: bool(reasons & APPROVABLE) or (shown["isReturn"] and status in LIVE_RUNS),
        Verb.RETRY: status is not RunState.PAUSED or bool(reasons & set(GATES)),
        Verb.ROLLBACK: shown["started_at"] is not None and not shown["goesBack"],
    }
    return [verb for verb in _ORDER if status in VERBS[verb] and can.get(verb, True)]


def unmerged_offered(shown: Mapping[str, Any]) -> list[Verb]:
    """The verbs that do something to a Deployment that git does not want yet."""
    return [verb for verb in offered(shown) if verb in ALLOWED]


def device_offered(device: Mapping[str, Any]) -> list[Verb]:
    """The verbs that do something to one device of a run."""
    state = TargetState(device["status"])
    if state is TargetState.COMPLETED and device["from_version"]:
        return [Verb.ROLLBACK]
    if state in _RETRIED or device["reason"] in ("KnownBad", "Excluded", "OfflineDeferred"):
        return [Verb.RETRY]
    return []


def allowed_words(verbs: Sequence[Verb]) -> str:
    """`pause, cancel`, for who asked for something else."""
    return ", ".join(map(str, verbs)) or "nothing; this run is final"


def what_it_does(verb: Verb, shown: Mapping[str, Any], fates: Consequences) -> list[str]:
    """Sentences that say in counts what a verb will do."""
    figures = shown["progress"]
    if verb in COUNTED:
        return [f"{str(fates)[:1].upper()}{str(fates)[1:]}.", _COUNTED_ALSO[verb]]
    waiting = counted(figures["pending"], "device")
    match verb:
        case Verb.START:
            return [_start(shown), "Every later batch waits for its gate as the manifest says."]
        case Verb.RESUME:
            return [f"The run goes on; {waiting} of it did not begin yet."]
        case Verb.RETRY if shown["status"] == RunState.PAUSED.value:
            failed = counted(figures["failed"], "device")
            return [f"Of {failed} that failed, those of the batch at hand are tried again."]
        case Verb.RETRY:
            return [
                f"The next run of the same revision begins for {figures['total_devices']}"
                " devices; who runs the release already is not touched."
            ]
        case Verb.APPROVE:
            held = ", ".join(hold["reason"] for hold in shown["holds"])
            return [f"The run goes on past {held or 'its windows'}; {waiting} did not begin yet."]
    raise AssertionError(verb)


def what_it_does_unmerged(verb: Verb, shown: Mapping[str, Any]) -> list[str]:
    """The same for a Deployment that git does not want yet."""
    branch = shown["branch"]
    match verb:
        case Verb.PAUSE:
            return [f"Once branch {branch} is merged, its run begins paused."]
        case Verb.RESUME:
            return [f"Once branch {branch} is merged, its run begins as the manifest says."]
    return [
        "Nobody waits for it any more.",
        f"Branch {branch} is left as it is: delete it, for a merge still deploys it.",
    ]


_COUNTED_ALSO = {
    Verb.PAUSE: "Nothing new begins until the run is resumed; what completed stays.",
    Verb.CANCEL: "The run ends for good; what completed stays. A retry begins the next run.",
    Verb.ROLLBACK: "Each device goes back to what it ran before and stays there until the next"
    " revision.",
}


def _start(shown: Mapping[str, Any]) -> str:
    first = shown["batches"][0] if shown["batches"] else None
    total = counted(shown["progress"]["total_devices"], "device")
    if first is None:
        return f"The rollout begins; {total} matched when it was made."
    size = first.get("plannedSize") or counted(first["size"], "device")
    return (
        f"The rollout begins with batch {first['name']} ({size}); {total} matched when it was made."
    )
