"""What follows from a step: another one, or the end of the attempt and what is told of it."""

import re
from dataclasses import dataclass

from towline.agent.attempt import AttemptRecord, KnownBad, Outcome, Step
from towline.agent.device import Device, remember_bad
from towline.schemas import reports
from towline.schemas.states import TargetState


@dataclass(frozen=True, slots=True)
class Next:
    """The attempt goes on with this step."""

    step: Step
    cause: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class End:
    """The attempt is over; without an outcome nothing is reported."""

    outcome: Outcome | None = None


def told(outcome: Outcome) -> reports.Attempt:
    """The outcome or step as a report names it."""
    key = outcome.key
    return reports.Attempt(
        component=key.component,
        deployment=key.deployment,
        revision=key.revision,
        attempt=key.attempt,
        commit=key.commit,
        state=outcome.state,
        reason=outcome.reason,
        message=_plain(outcome.message),
    )


def _plain(text: str) -> str:
    """Without control characters and what is no text; its end where it is too long for a report.

    A file name that is no UTF-8 comes with half a surrogate pair, which the server does not read.
    """
    whole = re.sub("[\ud800-\udfff]", "\ufffd", text)
    shown = "".join(char for char in whole if char in "\n\t" or ord(char) >= 32)
    limit = reports.MESSAGE_LIMIT
    return shown if len(shown) <= limit else "…" + shown[-limit + 1 :]


def end(
    device: Device, record: AttemptRecord, state: TargetState, reason: str = "", message: str = ""
) -> End:
    """Leave the attempt; a package that was at fault is remembered first."""
    if record.cause and record.cause != "PowerLoss":
        key = record.key
        remember_bad(device.layout, KnownBad(record.sha256, key.deployment, key.attempt))
    outcome = Outcome(record.key, record.version, record.sha256, state, reason, message)
    return End(outcome)
