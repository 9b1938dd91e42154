"""Whether an install may start now: no lock, a window with room for all of it, a fresh answer.

Asked before the first irreversible step only; what has begun is finished. Pure.
"""

from towline.agent.actions import Hold
from towline.agent.observe import Snapshot
from towline.schemas.desired_state import ComponentWanted
from towline.schemas.window_words import local_text, why_closed
from towline.schemas.windows import HORIZON_DAYS, install_need_s, next_opening

ANSWER_AGE_LIMIT_S = 15 * 60
"""An install starts only with an answer younger than this, so that a pause reaches the device."""


def gate(seen: Snapshot, wanted: ComponentWanted) -> Hold | None:
    """What keeps this install from starting now; None when it may."""
    if seen.locks:
        return Hold(wanted.name, "Locked", "; ".join(seen.locks))
    if hold := _window(seen, wanted):
        return hold
    age = seen.answer_age_s
    if age is None or age > ANSWER_AGE_LIMIT_S:
        return Hold(wanted.name, "WaitingForServer", "an install needs a fresh answer")
    return None


def _window(seen: Snapshot, wanted: ComponentWanted) -> Hold | None:
    """Closed, or open for too short a time; a window that cannot be read is closed."""
    now, windows, zone = seen.now, wanted.windows, wanted.time_zone
    need_s = install_need_s(wanted.install_timeout_s, wanted.health)
    try:
        opening = next_opening(windows, now, zone, need_s)
        why = why_closed(windows, now, zone)
    except (ValueError, OverflowError) as error:
        return Hold(wanted.name, "WaitingForWindow", str(error))
    if opening == now:
        return None
    why = why or f"the window closes before {need_s} s are over"
    when = f"not within {HORIZON_DAYS} days" if opening is None else local_text(opening, zone)
    return Hold(wanted.name, "WaitingForWindow", f"opens {when}; {why}", opening)
