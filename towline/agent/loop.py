"""Poll, converge, report, wait: for ever, or until there is nothing more to do.

What a document says is acted on only after it is stored, and what has begun is finished before the
server is asked for more. Nothing is asked faster than the poll interval unless something changed.
"""

import random
import secrets
import time
from dataclasses import replace
from math import inf

from towline.agent.actions import Action, Hold
from towline.agent.admission import ask_again, renew_key
from towline.agent.apply import apply
from towline.agent.clock import system_clock
from towline.agent.decide import decide
from towline.agent.device import LOG, Device
from towline.agent.fetch import Stopped
from towline.agent.retelling import tell_again
from towline.agent.rhythm import LEAST_PAUSE_S, LONG_POLL_S, Polled, Rhythm, renew_at
from towline.agent.server import SHUT_OUT, Answer, Denied
from towline.agent.wire import Unreachable
from towline.schemas.problems import Refused

OPENING_SPREAD_S = 30
"""A fleet whose windows open at one time does not ask at one time."""
_ROOT_MAY_HELP = frozenset({"threshold", "root-version", "root-expired"})
ONCE_WAIT_S = 5
"""How long `once` waits for the document that follows a completion."""


_ANSWERED = frozenset({Polled.CHANGED, Polled.PARKED, Polled.UNCHANGED})


def run(device: Device) -> None:
    """Until `device.stop` is set."""
    rhythm = Rhythm()
    while not device.stop.is_set:
        try:
            polled, is_changed = _turn(device)
            opening_s = _until_opening(device)
        except Stopped:
            return
        except Exception as error:  # noqa: BLE001
            _tell_error(error)
            polled, is_changed, opening_s = Polled.FAILED, False, inf
        if device.accepted is not None:
            rhythm.interval_s = device.accepted.document.poll_after_s
        device.stop.wait(LEAST_PAUSE_S if is_changed else min(rhythm.after(polled), opening_s))


def _turn(device: Device) -> tuple[Polled, bool]:
    """Finish what has begun, poll, act on the answer: what came of the poll, and if work was done.

    The pauses grow when what has begun cannot be finished.
    """
    if not _finish(device):
        poll(device, 0)
        return Polled.FAILED, False
    polled = poll(device, LONG_POLL_S)
    return polled, converge(device)


def _finish(device: Device) -> bool:
    """Do what has begun; False when something stands in the way.

    Neither a disk that fails nor an error of the agent must keep the device from the server, which
    may have the remedy.
    """
    try:
        converge(device)
    except Stopped:
        raise
    except Exception as error:  # noqa: BLE001
        _tell_error(error)
        return False
    return True


def _tell_error(error: Exception) -> None:
    if isinstance(error, OSError):
        LOG.error("the disk fails: %s", error)
    else:
        LOG.error("an error of the agent: %s: %s", type(error).__name__, error)


def _until_opening(device: Device) -> float:
    """Seconds to the first time that a hold names: the turn then polls, should the answer be old.

    What waits for a window must not sleep through it, however long the pause between polls is.
    """
    named = [action.until for action in decide_now(device) if isinstance(action, Hold)]
    left = [until - device.timekeeper.now() for until in named if until is not None]
    if not left:
        return inf
    return max(LEAST_PAUSE_S, min(left)) + random.uniform(0, OPENING_SPREAD_S)  # noqa: S311


def once(device: Device) -> bool:
    """Poll and converge until nothing more is to be done; False when the server was not reached."""
    if not _finish(device):
        poll(device, 0)
        return False
    polled = poll(device, 0)
    while polled in _ANSWERED:
        is_changed = converge(device)
        state = device.journal.state
        owes = state.versions_owed_after is not None
        if not is_changed and not owes:
            return True
        before = device.trust.state.sequence
        polled = poll(device, ONCE_WAIT_S if owes and not state.outbox else 0)
        if device.trust.state.sequence == before:
            return polled in _ANSWERED
    return False


def converge(device: Device) -> bool:
    """Decide and apply until only holds are left; True when something was done."""
    is_changed = False
    while action := _next(decide_now(device)):
        if device.stop.is_set:
            raise Stopped
        apply(device, action)
        device.send_reports()
        is_changed = True
    return is_changed


def decide_now(device: Device) -> list[Action]:
    """The decision of this moment; a document that has expired is none."""
    device.recall()
    return decide(device.snapshot())


def _next(actions: list[Action]) -> Action | None:
    return next((action for action in actions if not isinstance(action, Hold)), None)


def poll(device: Device, wait_s: int) -> Polled:
    """Ask for the document, accept it or report why not; what waits to be reported is sent."""
    began = time.monotonic()
    try:
        renew_key(device)
        device.server.open_session(device.claims(), device.trust.state.sequence)
        device.note_contact()
        _tell(device)
        _look_for_roots(device)
        answer, nonce = _ask(device, wait_s)
        if answer.status == 304:
            device.note_answer()
            is_parked = wait_s > 0 and time.monotonic() - began >= wait_s / 2
            return Polled.PARKED if is_parked else Polled.UNCHANGED
        return _accept(device, answer, nonce)
    except Denied as denied:
        return _denied(device, denied)
    except (Unreachable, Refused) as error:
        if not device.stop.is_set:
            LOG.warning("%s", error)
        return Polled.FAILED


def _look_for_roots(device: Device) -> None:
    """A root that is not to be believed is told, and the one at hand goes on to count."""
    try:
        device.look_for_roots()
    except Refused as refused:
        _refuse(device, refused)


def _tell(device: Device) -> None:
    """Send what waits; what a full disk cannot forget is sent again and counts once."""
    try:
        tell_again(device)
        device.report_facts()
        device.send_reports()
    except OSError as error:
        LOG.error("the disk fails: %s", error)


def _denied(device: Device, denied: Denied) -> Polled:
    LOG.warning("the server refuses: %s", denied)
    if denied.code != "unknown-device":
        return Polled.REVOKED if denied.code in SHUT_OUT else Polled.FAILED
    try:
        return Polled.PENDING if ask_again(device) else Polled.FAILED
    except Denied as refused:
        LOG.warning("the server does not let this device in: %s", refused)
        return Polled.REVOKED if refused.code in SHUT_OUT else Polled.FAILED
    except (Unreachable, Refused) as error:
        LOG.warning("%s", error)
        return Polled.FAILED


def _ask(device: Device, wait_s: int) -> tuple[Answer, str]:
    """One request, with one new session if the old one has ended."""
    for is_last in (False, True):
        nonce = secrets.token_urlsafe(16)
        try:
            etag = _etag(device)
            answer = device.server.desired_state(
                nonce, device.trust.state.sequence, etag, wait_s if etag else 0
            )
            if answer.status == 304 and etag is None:
                raise Refused("not-modified", "a document was asked for unconditionally")
            return answer, nonce
        except Denied as denied:
            if denied.code != "session" or is_last:
                raise
            device.server.open_session(device.claims(), device.trust.state.sequence)
    raise Unreachable("no session can be had")


def _etag(device: Device) -> str | None:
    """The tag of the document at hand, unless it is time to renew it.

    Nor is there one after a start with a clock that nothing keeps right: a window needs the time,
    and only a new document tells it.
    """
    if not device.has_answer and not system_clock().is_synchronised:
        return None
    device.recall()
    stored, accepted = device.trust.stored, device.accepted
    if stored is None or accepted is None or not stored.etag:
        return None
    return stored.etag if device.timekeeper.now() < renew_at(accepted.document) else None


def _accept(device: Device, answer: Answer, nonce: str) -> Polled:
    identity = device.identity.claims()
    etag = answer.tag
    before = device.trust.stored
    try:
        try:
            device.trust.accept(answer.body, identity, nonce, system_clock(), etag)
        except Refused as refused:
            if refused.code not in _ROOT_MAY_HELP or not device.trust.follow(device.server.root):
                raise
            device.trust.accept(answer.body, identity, nonce, system_clock(), etag)
    except Refused as refused:
        _refuse(device, refused)
        return Polled.FAILED
    device.note_answer()
    device.timekeeper.raise_floor(device.trust.state.time_floor)
    if device.journal.state.refused:
        device.journal.write(replace(device.journal.state, refused=""))
    is_new = before is None or before.etag != etag
    return Polled.CHANGED if is_new else Polled.UNCHANGED


def _refuse(device: Device, refused: Refused) -> None:
    """Keep running what runs, and say so once for each code."""
    LOG.error("the document is refused: %s", refused)
    state = device.journal.state
    if state.refused != refused.code:
        state = state.with_report(device.report_for(rejected=refused.code))
        device.journal.write(replace(state, refused=refused.code))
    device.send_reports()
