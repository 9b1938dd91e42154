"""Telling a server again what it has forgotten: one that was put back to an older copy of itself.

It says with each session up to which report it has heard of this device. What it acknowledged and
does not know any more is told once more; the rest it learns from git and from the next reports. One
that knows another journal knows nothing of this one.
"""

from dataclasses import replace

from towline.agent.device import LOG, Device
from towline.agent.outcome import told


def tell_again(device: Device) -> None:
    """Report how each component's last attempt ended, if the server lost what it was told."""
    heard, state = device.server.heard, device.journal.state
    if heard is None:
        return
    device.server.heard = None
    known = heard.report_seq if heard.journal == state.journal else 0
    if not state.receipt or known >= state.acknowledged_seq:
        return
    LOG.warning("the server has forgotten reports that it acknowledged: it is told again")
    for outcome in state.outcomes.values():
        state = state.with_report(device.report_for(told(outcome)))
    if not state.outcomes:
        state = state.with_report(device.report_for())
    device.journal.write(replace(state, versions_owed_after=device.trust.state.sequence))
