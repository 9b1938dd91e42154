"""One device's story in sentences: what runs, what is wanted and by whom, what blocks. Pure.

Each sentence that names a trouble is followed by when it clears and by what.
"""

from dataclasses import dataclass
from typing import Any

from towline.reconciler import ways_out
from towline.reconciler.explain_facts import (
    DeviceFacts,
    HoldFacts,
    PartFacts,
    RunFacts,
    TargetFacts,
)
from towline.reconciler.lengths import about
from towline.schemas import times
from towline.schemas.states import ACTIVE_TARGETS, LIVE_RUNS, RunState, TargetState


@dataclass(frozen=True, slots=True)
class Block:
    """The first thing that keeps a component from what is wanted."""

    what: str
    clears: str
    """When and by what; a sentence's end without its full stop."""


def explain(device: DeviceFacts, now: int) -> dict[str, Any]:
    """`{"device", "components": […], "text"}`."""
    lines = [_presence(device, now)]
    if device.is_old:
        lines.append("It is an old device and verifies no signature: the server does in its place.")
    documents = []
    for part in device.parts:
        block = first_block(device, part, now)
        documents.append(_document(part, block))
        lines += _sentences(part, block)
    if not device.parts:
        lines.append(
            "No Deployment owns it: a commit whose filters match it, or its labels, change that."
        )
    if device.rejected:
        lines.append(
            f"It refused its last document: {device.rejected}; what runs is kept."
            " `towline-agent status --why` says more there."
        )
    return {"device": device.name, "components": documents, "text": "\n".join(lines)}


def _presence(device: DeviceFacts, now: int) -> str:
    if device.shut_out:
        return f"{device.name} {device.shut_out}"
    if device.last_seen is None:
        return f"{device.name} has never been seen: start its agent."
    ago = about(max(0, now - device.last_seen))
    silent = f"silent for {ago}" if device.is_silent else f"last seen {ago} ago"
    return f"{device.name}: {silent}."


def _document(part: PartFacts, block: Block | None) -> dict[str, Any]:
    run, target = part.run, part.target
    return {
        "component": part.component,
        "current": part.version,
        "desired": run.version if run else None,
        "state": target.state.value if target else None,
        "reason": target.reason if target else None,
        "attempt": target.attempt if target else None,
        "deployment": run.deployment if run else None,
        "commit": run.commit if run else None,
        "author": run.author if run else None,
        "subject": run.subject if run else None,
        "pin": part.pin,
        "blocks": block.what if block else "",
        "clears": block.clears if block else "",
    }


def _sentences(part: PartFacts, block: Block | None) -> list[str]:
    lines = [f"{part.component}: it runs {part.version or 'nothing that Towline installed'}."]
    run = part.run
    if run is not None:
        subject = f" ({run.subject})" if run.subject else ""
        lines.append(
            f"  Deployment {run.deployment} wants {run.version},"
            f" by commit {run.commit[:12]} of {run.author}{subject}."
        )
    if block is not None:
        lines.append(f"  {block.what}.")
        if block.clears:
            lines.append(f"  → {block.clears}.")
    return lines


def first_block(device: DeviceFacts, part: PartFacts, now: int) -> Block | None:
    """What keeps the component from what git wants; None when nothing does."""
    run, target = part.run, part.target
    if run is None or device.shut_out:
        return None
    if target is None:
        return _unselected(device, part, run)
    if target.state is TargetState.COMPLETED:
        return None if target.is_verified else _unverified(device, now)
    if target.state not in ACTIVE_TARGETS:
        return _ended(device, part, run, target)
    if target.is_granted:
        return _granted(device, part, run, target, now)
    return _ungranted(device, part, run, target, now)


def _unselected(device: DeviceFacts, part: PartFacts, run: RunFacts) -> Block | None:
    if part.pin is not None:
        what = f"A person sent it back to {part.pin} and pinned it there"
        return Block(what, ways_out.of_target("Excluded", run.deployment, device.name)[1])
    if not part.is_owned:
        what, way_out = ways_out.of_target("NoLongerMatches", run.deployment, device.name)
        return Block(what[0].upper() + what[1:], way_out)
    if part.version == run.version:
        return None
    shown = run.holds[0].reason if run.holds else run.reason
    message = run.holds[0].message if run.holds else run.message
    why = ": ".join(filter(None, [str(run.status), shown, message]))
    what = f"It was not selected yet; the run is {why}"
    if run.holds:
        return Block(what, _clears(run.holds[0], run.deployment))
    if run.status in LIVE_RUNS:
        way_out = ways_out.of_run(run.reason, run.deployment)
        return Block(what, way_out or "it gets its turn in a batch to come")
    if run.status is RunState.COMPLETED:
        return Block(
            "It was not selected; the run is completed",
            "as a late joiner it gets it by itself, unless `current_version` or `status` of the"
            " filters do not fit it or `selfHeal` is false",
        )
    return Block(what, ways_out.of_target("Cancelled", run.deployment, device.name)[1])


def _clears(hold: HoldFacts, name: str) -> str:
    until = f", or by itself at {times.to_rfc3339(hold.until)}" if hold.until else ""
    return f"{ways_out.of_hold(hold.reason, name)}{until}"


def _unverified(device: DeviceFacts, now: int) -> Block:
    if device.is_silent:
        what = f"Installed, and silent since; a later report must confirm it{_since(device, now)}"
        return Block(what, "its next poll; see to its network")
    return Block("Installed; a later report must confirm it", "its next poll")


def _since(device: DeviceFacts, now: int) -> str:
    """` (silent for 3 h)`."""
    if device.last_seen is None:
        return " (never seen)"
    return f" (silent for {about(now - device.last_seen)})"


def _ended(device: DeviceFacts, part: PartFacts, run: RunFacts, target: TargetFacts) -> Block:
    meaning, way_out = ways_out.of_target(target.reason, run.deployment, device.name)
    if target.state is TargetState.SKIPPED:
        return Block(f"It is skipped: {target.reason}: {meaning}".rstrip(": "), way_out)
    if target.reason == "RolledBackByUser" and part.pin is not None:
        meaning = f"a person sent it back to {part.pin} and pinned it there"
    by_itself = target.reason not in ("RolledBackByUser", "RolledBackByPolicy")
    verb = "It failed"
    if target.state is TargetState.ROLLED_BACK:
        verb = "It rolled back by itself" if by_itself else "It went back"
    why = target.message or meaning or "no message"
    return Block(f"{verb}: {target.reason}: {why} (attempt {target.attempt})", way_out)


def _granted(
    device: DeviceFacts, part: PartFacts, run: RunFacts, target: TargetFacts, now: int
) -> Block:
    wanted = target.goes_back_to or run.version
    doing = f"{_doing(target)} {wanted}, attempt {target.attempt}"
    deadline = ""
    if target.deadline is not None and not target.waits:
        deadline = f"; at {times.to_rfc3339(target.deadline)} it counts as TimedOut"
    if device.is_silent:
        return Block(
            f"It holds a grant{_since(device, now)}, last: {doing}",
            f"its next poll{deadline}; see to its network",
        )
    if part.window is not None:
        return _window(part, run, device)
    if target.waits in ways_out.WAITS:
        return Block(f"It waits: {target.waits}", ways_out.WAITS[target.waits])
    if not target.is_fetched:
        return Block(f"It may begin with {wanted}", "its next poll fetches the grant")
    return Block(f"It works on it: {doing}", f"its verdict{deadline}")


def _doing(target: TargetFacts) -> str:
    if target.goes_back_to is not None:
        return "going back to"
    return target.state.value if target.state is not TargetState.PENDING else "granted"


def _window(part: PartFacts, run: RunFacts, device: DeviceFacts) -> Block:
    window = part.window
    assert window is not None
    if window.opens_at is None:
        opens = "no opening is in sight: a commit must change `windows` or the Freeze"
    else:
        opens = f"it opens at {times.to_rfc3339(window.opens_at)}"
        if device.time_zone:
            opens += f" (the device's zone is {device.time_zone})"
    if run.is_return:
        opens += f"; `towline approve {run.deployment} --through-windows --reason …` for the night"
    return Block(f"It waits for its window: {window.why}", opens)


def _ungranted(
    device: DeviceFacts, part: PartFacts, run: RunFacts, target: TargetFacts, now: int
) -> Block:
    if run.holds:
        hold = run.holds[0]
        what = f"It waits for its turn; the run is {run.status}: {hold.reason}: {hold.message}"
        return Block(what.rstrip(": "), _clears(hold, run.deployment))
    if device.is_silent:
        return Block(
            f"It is selected and offline{_since(device, now)}",
            "its next poll; after `offline.after` it is deferred and comes back by itself",
        )
    if part.busy_with:
        return Block(f"Another install goes first: {part.busy_with}", "the end of that install")
    if not target.is_staged and target.goes_back_to is None:
        return Block(f"It downloads {run.version} ahead", "it is staged then and gets its turn")
    if part.full_group:
        what = f"The disruption budget has no room in {part.full_group}"
        return Block(what, "another device of the group must give its verdict first")
    waits = ": ".join(filter(None, [run.reason, run.message]))
    turn = f"its turn to go back to {target.goes_back_to}" if target.goes_back_to else "its turn"
    what = f"It waits for {turn}; the run is {run.status}: {waits}".rstrip(": ")
    return Block(what, ways_out.of_run(run.reason, run.deployment) or "a free slot")
