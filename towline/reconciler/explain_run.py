"""One Deployment's story in sentences: what is decided now, what holds it, who is silent. Pure.

Speaks from the document that the API shows and from what `decide` says; no dead ends: whatever is
said to hold is followed by who clears it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from towline.reconciler import ways_out
from towline.reconciler.actions import (
    Action,
    AddHold,
    BeginRun,
    EndRun,
    FillUp,
    Grant,
    Hold,
    MoveBatch,
    OpenBatch,
)
from towline.reconciler.lengths import about, counted
from towline.schemas import times
from towline.schemas.states import FINISHED_RUNS, LIVE_RUNS, RunState

_ONLY_CANCEL = "`towline cancel {name} --reason …` ends it"
_OTHER_WAYS = "`towline cancel {name} --reason …` ends it, `towline rollback {name} --reason …` too"


@dataclass(frozen=True, slots=True)
class Deadline:
    """So many devices in one state owe a verdict; `at` is the next one's deadline."""

    state: str
    n: int
    at: int | None
    still: int
    """For so many the clock stands still: they wait for a window, a lock or another link."""


@dataclass(frozen=True, slots=True)
class Act:
    """What a person last did to the run."""

    what: str
    """With who did it: `rollback by ada`."""
    at: int
    reason: str


@dataclass(frozen=True, slots=True)
class RunStory:
    """What is told."""

    shown: Mapping[str, Any]
    """The Deployment's newest run as the API shows it."""
    subject: str
    decision: Sequence[Action] | None
    """What `decide` says now; None before a commit is in force."""
    deadlines: Sequence[Deadline]
    limits: Mapping[str, int]
    """The manifest's own, in seconds: `deviceTimeout` and so on."""
    is_in_git: bool
    stalls_at: int | None = None
    """When progressDeadline runs out, while an online device holds a grant."""
    openings: Sequence[int] | None = None
    """When windows open next in the time zones of its devices, in order; None: none is in the way.

    Empty: none ever opens."""
    last_act: Act | None = None


def explain_run(story: RunStory, now: int) -> dict[str, Any]:
    """`{"deployment", "decision", "needs", …, "text"}`."""
    shown = story.shown
    decision = _decision(story, now)
    needs = _needs(story)
    lines = [_title(shown), _wanted(story), f"Now: {decision}."]
    lines += [line for hold in shown["holds"] for line in _hold(hold, shown["name"])]
    if shown["holds"]:
        ways = _OTHER_WAYS if shown["started_at"] else _ONLY_CANCEL
        lines.append(f"Or: {ways.format(name=shown['name'])}.")
    lines += [_batch(batch) for batch in shown["batches"]]
    lines += [f"Silent: {_silence(each, now)}." for each in shown["silent"]]
    if shown["silent"]:
        lines.append("  → their next poll; see to their network.")
    lines += [_deadline(each) for each in story.deadlines]
    if story.stalls_at is not None:
        lines.append(
            f"Without a verdict it is held as DeadlineExceeded {_at(story.stalls_at, now)}."
        )
    if story.limits:
        limits = ", ".join(f"{name} {about(s)}" for name, s in story.limits.items())
        lines.append(f"Limits of the manifest: {limits}.")
    lines += _windows(story.openings, now)
    if (act := story.last_act) is not None:
        why = f": {act.reason}" if act.reason else ""
        lines.append(f"Last act: {act.what}, {times.to_rfc3339(act.at)}{why}.".replace("..", "."))
    lines.append(f"A commit: {needs}.")
    return {
        "deployment": shown["name"],
        "id": shown["id"],
        "status": shown["status"],
        "health": shown["health"],
        "reason": shown["reason"],
        "message": shown["message"],
        "commit": shown["commit"],
        "author": shown["author"],
        "subject": story.subject,
        "decision": {"text": decision, "actions": _names(story.decision)},
        "holds": shown["holds"],
        "batches": shown["batches"],
        "silent": shown["silent"],
        "deadlines": [_deadline_document(each) for each in story.deadlines],
        "limits": dict(story.limits),
        "stallsAt": None if story.stalls_at is None else times.to_rfc3339(story.stalls_at),
        "opens": [times.to_rfc3339(at) for at in story.openings or ()],
        "lastAct": None if story.last_act is None else _act_document(story.last_act),
        "needs": needs,
        "text": "\n".join(lines),
    }


def _title(shown: Mapping[str, Any]) -> str:
    figures = shown["progress"]
    health = "" if shown["health"] == shown["status"] else f", {shown['health']}"
    why = ""
    if RunState(shown["status"]) in FINISHED_RUNS and shown["reason"]:
        why = f" ({': '.join(filter(None, [shown['reason'], shown['message']]))})"
    return (
        f"{shown['name']} {shown['target_version']}: {shown['status']}{why}{health};"
        f" {figures['completed']} of {figures['total_devices']} devices completed,"
        f" {figures['failed']} failed, {figures['skipped']} skipped."
    )


def _wanted(story: RunStory) -> str:
    shown = story.shown
    subject = f" ({story.subject})" if story.subject else ""
    return f"Wanted by commit {shown['commit'][:12]} of {shown['author']}{subject}."


def _names(decision: Sequence[Action] | None) -> list[str]:
    return [type(each).__name__ for each in decision or ()]


def _decision(story: RunStory, now: int) -> str:
    if story.decision is None:
        return "no commit is in force on this server, so nothing is decided"
    words = [_step(each, story.shown["name"], now) for each in story.decision]
    return "; ".join(filter(None, words)) or "nothing is to be done"


def _step(action: Action, name: str, now: int) -> str:
    match action:
        case Hold("", _, None):
            return ""
        case Hold(reason, message, until):
            what = ": ".join(filter(None, [reason or "nothing is to be done", message]))
            when = f", looked at again {_at(until, now)}" if until is not None else ""
            way_out = ways_out.of_run(reason, name)
            return f"{what}{when}" + (f"; {way_out}" if way_out else "")
        case Grant(devices):
            return f"the next pass grants {counted(len(devices), 'device')}"
        case OpenBatch(_, plan):
            return f"the next pass opens batch {plan.name}"
        case FillUp(number):
            return f"the next pass selects more devices into batch {number + 1}"
        case MoveBatch(number, state):
            return f"batch {number + 1} becomes {state}"
        case AddHold(reason, message):
            return f"it will be held: {reason}: {message}"
        case BeginRun():
            return "the next run begins"
        case EndRun(status, reason):
            return f"the run ends: {status} {reason}".rstrip()
    return f"the next pass does {type(action).__name__}"


def _at(at: int, now: int) -> str:
    return f"at {times.to_rfc3339(at)} (in {about(max(0, at - now))})"


def _hold(hold: Mapping[str, Any], name: str) -> Iterable[str]:
    until = f", until {hold['until']}" if hold["until"] else ""
    yield f"Held by {hold['reason']} since {hold['since']}{until}: {hold['message']}.".replace(
        "..", "."
    )
    yield f"  → {ways_out.of_hold(hold['reason'], name)}."


def _windows(openings: Sequence[int] | None, now: int) -> Iterable[str]:
    """Only where a device may not begin right now."""
    if openings is None or (openings and openings[-1] <= now):
        return
    if not openings:
        yield "Windows: none of its devices' windows ever opens."
        return
    last = f", the last of its time zones {_at(openings[-1], now)}"
    first = "open now" if openings[0] <= now else f"open next {_at(openings[0], now)}"
    yield f"Windows {first}{last if len(openings) > 1 and openings[-1] > openings[0] else ''}."


def _act_document(act: Act) -> dict[str, str]:
    return {"what": act.what, "at": times.to_rfc3339(act.at), "reason": act.reason}


def _batch(batch: Mapping[str, Any]) -> str:
    size = batch["plannedSize"] if batch["size"] is None else counted(batch["size"], "device")
    counts = ", ".join(f"{n} {word}" for word, n in sorted(batch["counts"].items()))
    words = ", ".join(filter(None, [size, counts]))
    waits = f"; waits for {batch['waitsFor']}" if batch["waitsFor"] else ""
    return f"Batch {batch['name']}: {batch['state']}, {words}{waits}.".replace("..", ".")


def _silence(each: Mapping[str, Any], now: int) -> str:
    last = f"last: {each['status']} {each['version']}, attempt {each['attempt']}"
    if each["lastSeen"] is None:
        return f"{each['device_id']} was never seen, {last}"
    ago = about(max(0, now - times.from_rfc3339(each["lastSeen"])))
    return f"{each['device_id']} for {ago}, {last}"


def _deadline(each: Deadline) -> str:
    at = f", the next deadline is {times.to_rfc3339(each.at)}" if each.at is not None else ""
    still = f", for {each.still} the clock stands still" if each.still else ""
    return f"{each.n} {each.state}{at}{still}."


def _deadline_document(each: Deadline) -> dict[str, Any]:
    at = None if each.at is None else times.to_rfc3339(each.at)
    return {"state": each.state, "devices": each.n, "next": at, "standingStill": each.still}


def _needs(story: RunStory) -> str:
    """What a commit would have to say to change the course of things."""
    reasons = {hold["reason"] for hold in story.shown["holds"]}
    status = RunState(story.shown["status"])
    if not story.is_in_git:
        return "one that brings the manifest back begins a new run"
    if "PolicyViolated" in reasons:
        return "one that obeys the Policy lets it go on"
    if "PausedInGit" in reasons:
        return "one without `paused: true` lets it go on"
    if story.shown["reason"] == "WaitingForStatement":
        return "one with a fitting statement under releases/ lets it begin"
    if "PausedByUser" in reasons:
        return "one with another release begins a run that waits for `towline resume`, too"
    if status in LIVE_RUNS:
        return (
            "one with another release begins a new run in its place, a revert goes back;"
            " filters, strategy and times change this one"
        )
    if status is RunState.COMPLETED:
        return "one with another release begins the next run"
    return (
        "one with another release begins the next run;"
        f" `towline retry {story.shown['name']} --reason …` does with this one"
    )
