"""What the device says of itself to a person beside it; reads files only, without the lock."""

import json
from collections.abc import Mapping
from typing import Any

from towline.agent import identity
from towline.agent.actions import Action, Hold, Perform, Tell
from towline.agent.attempt import AttemptRecord, Step
from towline.agent.clock import Timekeeper
from towline.agent.decide import decide
from towline.agent.device import read_known_bad
from towline.agent.journal import JournalState, read
from towline.agent.layout import Layout
from towline.agent.observe import ComponentSeen, Snapshot, observe
from towline.agent.trust_store import TrustStore
from towline.schemas import times
from towline.schemas.desired_state import ComponentAction, ComponentWanted
from towline.schemas.states import GLYPHS, TargetState
from towline.schemas.verifier import Clock

DEVELOPMENT_WARNING = (
    "this device trusts throw-away development keys; anyone who has them can put code on it"
)
_STATES = {
    Step.DOWNLOAD: TargetState.DOWNLOADING,
    Step.STAGE: TargetState.DOWNLOADING,
    Step.CHECK: TargetState.VERIFYING,
    Step.COMMIT: TargetState.VERIFYING,
}


def status(layout: Layout) -> dict[str, Any]:
    """The DeviceStatus object; raises Problem when the device is not enrolled."""
    who = identity.load(layout)
    trust = TrustStore(layout, who.organization)
    journal = read(layout.journal) or JournalState(journal="")
    clock = Clock(Timekeeper(trust.state.time_floor).now(), is_synchronised=True)
    accepted = trust.recall(who.claims(), clock)
    document = accepted.document if accepted else None
    seen = observe(layout, journal, document, read_known_bad(layout), 0.0, clock.now)
    wanted = {each.name: each for each in document.components} if document else {}
    actions = [action for action in decide(seen) if not isinstance(action, Tell)]
    holds = {action.component: action for action in actions if isinstance(action, Hold)}
    return {
        "apiVersion": "towline/v1",
        "kind": "DeviceStatus",
        "id": who.device,
        "organization": who.organization,
        "deviceType": who.device_type,
        "server": who.server,
        "components": {
            name: _component(seen, name, wanted.get(name), holds.get(name))
            for name in sorted({*seen.components, *wanted})
        },
        "refused": journal.refused or None,
        "sequence": trust.state.sequence,
        "waitsFor": [_waits(action) for action in actions] or [_next_document(layout)],
        "downloads": journal.downloads,
        "reportsWaiting": len(journal.outbox),
        "development": trust.root.is_development and trust.root.root.threshold == 1,
    }


def _component(
    seen: Snapshot, name: str, wanted: ComponentWanted | None, hold: Hold | None
) -> dict[str, Any]:
    component = seen.component(name)
    attempt = seen.attempt if seen.attempt and seen.attempt.key.component == name else None
    state, reason, message = _state(component, attempt, wanted)
    if state is TargetState.PENDING and hold is not None:
        reason, message = hold.reason, hold.message
    key = attempt.key if attempt else component.outcome.key if component.outcome else None
    source = wanted or key
    return {
        "current": component.current.version if component.current else None,
        "desired": wanted.version if wanted else None,
        "state": state,
        "reason": reason,
        "message": message,
        "deployment": source.deployment if source else None,
        "attempt": source.attempt if source else None,
        "commit": source.commit if source else None,
    }


def _state(
    component: ComponentSeen, attempt: AttemptRecord | None, wanted: ComponentWanted | None
) -> tuple[TargetState, str, str]:
    """State, reason and message: of the attempt under way, else of how the last one ended."""
    if attempt is not None and attempt.is_preparation:
        return TargetState.PENDING, "Preparing", ""
    if attempt is not None:
        return _STATES.get(attempt.step, TargetState.INSTALLING), attempt.cause, attempt.message
    outcome = component.outcome
    is_answered = outcome is not None and (
        wanted is None
        or wanted.action is ComponentAction.KEEP
        or (outcome.key.deployment, outcome.key.attempt) == (wanted.deployment, wanted.attempt)
    )
    if outcome is None or not is_answered:
        return TargetState.PENDING, "", ""
    return outcome.state, outcome.reason, outcome.message


def _waits(action: Action) -> dict[str, Any]:
    if isinstance(action, Hold):
        return {
            "component": action.component or None,
            "reason": action.reason,
            "message": action.message,
            "until": action.until,
        }
    component = action.component if isinstance(action, Perform) else None
    return {
        "component": component,
        "reason": type(action).__name__,
        "message": f"next: {action.step}" if isinstance(action, Perform) else "",
        "until": None,
    }


def _next_document(layout: Layout) -> dict[str, Any]:
    """Converged: only a new document changes anything."""
    try:
        answered = int(json.loads(layout.contact.read_bytes())["at"])
    except (OSError, ValueError, KeyError, TypeError):
        answered = None
    message = "the server has not answered yet"
    if answered is not None:
        message = f"the server answered last at {times.to_rfc3339(answered)}"
    return {"component": None, "reason": "NextDocument", "message": message, "until": None}


def as_text(found: Mapping[str, Any], *, why: bool) -> str:
    """A few lines for people."""
    lines = [f"{found['id']} of {found['organization']}, {found['deviceType']}"]
    for name, component in found["components"].items():
        glyph = GLYPHS.get(component["state"], "")
        versions = f"{component['current'] or '-'}, wanted {component['desired'] or '-'}"
        state = f"{glyph} {component['state']} {component['reason']}".rstrip()
        lines.append(f"  {name}  {versions}  {state}")
        if component["message"]:
            lines += [f"    {line}" for line in component["message"].splitlines()[-5:]]
    if found["refused"]:
        lines.append(f"  the last document was refused: {found['refused']}")
    if found["reportsWaiting"]:
        lines.append(f"  reports that wait for the server: {found['reportsWaiting']}")
    if why:
        lines += ["waits for:"] + [
            f"  {wait['component'] or 'the device'}: {wait['reason']} {wait['message']}".rstrip()
            for wait in found["waitsFor"]
        ]
    if found["development"]:
        lines.append(f"warning: {DEVELOPMENT_WARNING}")
    return "\n".join(lines)
